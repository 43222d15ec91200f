import { isPluggedProvider, type PluggedProvider } from './config-schema.ts'
import type { ProviderSettings } from './provider-settings.ts'

type Rates = Partial<Pick<ProviderSettings, 'maxConcurrency' | 'requestsPerMinute' | 'tokensPerMinute'>>

const NO_RATES: Rates = {}

/** Returns a lookup of the limits of an account by its id: concurrency, requests and tokens per minute. */
export function createRatesOf(accounts: Readonly<Record<string, PluggedProvider | Rates>>) {
  const rates = new Map(
    Object.entries(accounts).flatMap(([id, account]) => (isPluggedProvider(account) ? [] : [[id, account] as const])),
  )
  return (id: string) => rates.get(id) ?? NO_RATES
}
