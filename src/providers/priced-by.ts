import type { PricedBy, ProviderService } from './provider.ts'

/** Names that prices and tokenizers go by, by the id of the provider. */
export function createPricedBy(providers: ProviderService): (id: string) => PricedBy {
  const known = new Map<string, PricedBy>(providers.list().map((info) => [info.id, info]))
  return (id) => known.get(id) ?? { id, vendor: id, simulated: false }
}
