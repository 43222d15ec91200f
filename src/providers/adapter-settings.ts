import type { ProviderSettingsInput } from '../config/provider-settings.ts'

/** What an adapter needs to speak to one account. Read once, when the provider is built; nothing later changes where a key goes. */
export interface AdapterSettings extends Omit<ProviderSettingsInput, 'kind' | 'active'> {
  /** Id as steps name it. */
  readonly id: string
  /** Name for prices: the preset, else the kind. */
  readonly vendor: string
  readonly simulated: boolean
}

/** Shorter ones are words such as `v1` or `none`. */
const MIN_SECRET = 8

/** What an account's requests carry and nobody may be told. */
export const secretsOf = ({ apiKey = '', headers = {} }: Pick<AdapterSettings, 'apiKey' | 'headers'>): readonly string[] =>
  [apiKey, ...Object.values(headers)].filter((secret) => secret.length >= MIN_SECRET)
