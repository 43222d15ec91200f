/** Names that vendors give to the tier of the price list. */
const STANDARD: ReadonlySet<string> = new Set([
  'default',
  'standard',
  'auto',
  'on_demand',
  'traffic_type_unspecified',
  'unspecified',
])

/**
 * Price of a tier relative to the standard one, by vendor of the price list. Source for Google: notes of the bundled
 * price list. Source for OpenAI: only secondary descriptions of its price page, November 2026, so these factors still
 * need checking there. Priority tiers are missing on purpose, because their surcharge differs between models, or was
 * paid in advance.
 */
const FACTORS: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  openai: { flex: 0.5, batch: 0.5 },
  google: { flex: 0.5, batch: 0.5 },
}

/**
 * Factor of a tier over the standard price: 1 if the answer names no tier, `undefined` if the price of the tier is
 * unknown.
 */
export function toTierFactor(vendor: string, tier: string | undefined): number | undefined {
  if (tier === undefined) return 1
  const name = tier.toLowerCase()
  if (STANDARD.has(name)) return 1
  // Google uses both `ON_DEMAND_FLEX` and `flex`.
  const known = Object.hasOwn(FACTORS, vendor) ? FACTORS[vendor] : undefined
  const word = name.replace(/^on_demand_/, '')
  return known && Object.hasOwn(known, word) ? known[word] : undefined
}
