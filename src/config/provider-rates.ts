import type { PolyphonyConfig } from './config.ts'
import { isPluggedProvider } from './config-schema.ts'

const NO_RATES = {}

/** Returns a lookup of the limits of an account by its id: concurrency, requests and tokens per minute. */
export function createRatesOf(accounts: PolyphonyConfig['providers']) {
  const rates = new Map(
    Object.entries(accounts).flatMap(([id, account]) => (isPluggedProvider(account) ? [] : [[id, account] as const])),
  )
  return (id: string) => rates.get(id) ?? NO_RATES
}
