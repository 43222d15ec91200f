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
export const MIN_SECRET = 8

/** The headers that do not change; those of a function are added by the transport, before every request. */
export const fixedHeadersOf = ({ headers }: Pick<AdapterSettings, 'headers'>): Readonly<Record<string, string>> =>
  typeof headers === 'object' ? headers : {}

/** What an account's requests carry from its settings and nobody may be told. */
export const secretsOf = (settings: Pick<AdapterSettings, 'apiKey' | 'headers' | 'proxy'>): readonly string[] =>
  [settings.apiKey ?? '', ...Object.values(fixedHeadersOf(settings)), passwordOf(settings.proxy)].filter(
    (secret) => secret.length >= MIN_SECRET,
  )

const passwordOf = (proxy: string | undefined): string =>
  proxy !== undefined && URL.canParse(proxy) ? decodeURIComponent(new URL(proxy).password) : ''
