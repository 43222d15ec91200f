import { type ConfigSource, isGroup, type MergedConfig, type SourcedPath } from './layers.ts'

/** Sources that belong to the process. The other sources are files in its working directory. */
const OF_THE_PROCESS: ReadonlySet<ConfigSource['kind']> = new Set(['flag', 'code', 'environment'])

function isLoopback(url: unknown): boolean {
  if (typeof url !== 'string' || !URL.canParse(url)) return false
  // Only the parsed host counts: in http://localhost:80@elsewhere the part before the @ is user and password.
  const { hostname } = new URL(url)
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d+){3}$/.test(hostname)
}

/** Settings of an account that determine the receiver of its requests. */
const ADDRESSES = ['baseUrl', 'proxy'] as const

/** A key that would be sent to an address from an untrusted file. */
export interface MisboundKey {
  readonly provider: string
  readonly key: SourcedPath
  readonly setting: (typeof ADDRESSES)[number]
  readonly address: SourcedPath
}

/**
 * Finds keys of the process that a file in the working directory would redirect: a cloned repository must not receive
 * the keys of the user that runs Polyphony in it. Loopback addresses are allowed, for local proxies.
 */
export function findMisboundKeys({ values, sources }: MergedConfig): readonly MisboundKey[] {
  if (!isGroup(values) || !isGroup(values.providers)) return []
  return Object.entries(values.providers).flatMap(([provider, settings]) => {
    // With several keys the single one is not used.
    const key = sources.get(`providers.${provider}.apiKeys`) ?? sources.get(`providers.${provider}.apiKey`)
    if (!key || !OF_THE_PROCESS.has(key.kind)) return []
    return ADDRESSES.flatMap((setting) => {
      const address = sources.get(`providers.${provider}.${setting}`)
      if (!address || OF_THE_PROCESS.has(address.kind)) return []
      return isGroup(settings) && isLoopback(settings[setting]) ? [] : [{ provider, key, setting, address }]
    })
  })
}
