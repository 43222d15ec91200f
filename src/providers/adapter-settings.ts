import type { Dispatcher } from 'undici'
import { withToken } from '../config/operations/operation-secrets.ts'
import type { ProviderSettingsInput } from '../config/provider-settings.ts'
import { decodedUrlText } from './transport/url-credentials.ts'

/**
 * Settings of one account. Read once, when the provider is built, so that nothing can change later where a key is sent.
 */
export interface AdapterSettings extends Omit<ProviderSettingsInput, 'kind' | 'active' | 'apiKeys'> {
  /** Id by which steps name the provider. */
  readonly id: string
  /** Name by which prices are found: the preset, otherwise the kind. */
  readonly vendor: string
  readonly simulated: boolean
  /** Opens the connections of requests that use no proxy. Default: one that all accounts share. */
  readonly dispatcher?: Dispatcher
}

/** Shorter header values are not redacted, because they are words such as `v1` or `none`, which occur everywhere. */
export const MIN_SECRET = 8

/** The constant headers of an account. Those of a headers function are added by the transport before every request. */
export const fixedHeadersOf = ({ headers }: Pick<AdapterSettings, 'headers'>): Readonly<Record<string, string>> =>
  typeof headers === 'object' ? headers : {}

/** Key, header values and proxy password of an account, which must not appear in messages. */
export const secretsOf = (settings: Pick<AdapterSettings, 'apiKey' | 'headers' | 'proxy'>): readonly string[] =>
  [settings.apiKey ?? '', ...Object.values(fixedHeadersOf(settings)).flatMap(withToken), passwordOf(settings.proxy)].filter(
    (secret) => secret.length >= MIN_SECRET,
  )

const passwordOf = (proxy: string | undefined): string =>
  proxy !== undefined && URL.canParse(proxy) ? decodedUrlText(new URL(proxy).password) : ''
