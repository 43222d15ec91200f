import type { PolyphonyConfig } from './config.ts'
import { isPluggedProvider } from './config-schema.ts'

const NO_RATES = {}

/** Concurrency and rates of each configured account, by its id. */
export function createRatesOf(accounts: PolyphonyConfig['providers']) {
  const rates = new Map(
    Object.entries(accounts).flatMap(([id, account]) => (isPluggedProvider(account) ? [] : [[id, account] as const])),
  )
  return (id: string) => rates.get(id) ?? NO_RATES
}
