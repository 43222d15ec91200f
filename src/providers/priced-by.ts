import type { NamedProvider, ProviderService } from './provider.ts'

/** Names that prices, tokenizers and models go by, by the id of the provider. */
export function createPricedBy(providers: ProviderService): (id: string) => NamedProvider {
  const known = new Map<string, NamedProvider>(providers.list().map((info) => [info.id, info]))
  return (id) => known.get(id) ?? { id, vendor: id, simulated: false }
}
