import type { ProviderInfo, ProviderService } from '../provider.ts'

/** Finds what is known about a provider; `undefined` for an id that is not configured, or cannot be used. */
export type FindProviderInfo = (id: string) => ProviderInfo | undefined

/**
 * Remembers providers, so that no list is made per call. For what does not change while a provider exists, unlike
 * whether it is active. Some are found later than others: services are added, and functions registered, at run time.
 */
export function createProviderLookup(providers: Pick<ProviderService, 'list'>): FindProviderInfo {
  const known = new Map<string, ProviderInfo>()
  return (id) => {
    if (!known.has(id)) for (const info of providers.list()) known.set(info.id, info)
    return known.get(id)
  }
}
