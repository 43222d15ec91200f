/** Words of all vendors for the tier that the list prices. */
const STANDARD: ReadonlySet<string> = new Set([
  'default',
  'standard',
  'auto',
  'on_demand',
  'traffic_type_unspecified',
  'unspecified',
])

/**
 * What a tier costs in relation to the standard one, by vendor of the price list. Google's flex and batch: notes of the bundled price list. OpenAI's:
 * secondary descriptions of its price page only, November 2026, so still to be checked there. Priority tiers are missing on purpose: their surcharge
 * differs from model to model, or was paid beforehand.
 */
const FACTORS: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  openai: { flex: 0.5, batch: 0.5 },
  google: { flex: 0.5, batch: 0.5 },
}

/** Factor of a tier over the standard price; 1 where the vendor names no tier, `undefined` where its price is not known. */
export function toTierFactor(vendor: string, tier: string | undefined): number | undefined {
  if (tier === undefined) return 1
  const name = tier.toLowerCase()
  if (STANDARD.has(name)) return 1
  // Google names its tiers `ON_DEMAND_FLEX` in one place and `flex` in another.
  const known = Object.hasOwn(FACTORS, vendor) ? FACTORS[vendor] : undefined
  const word = name.replace(/^on_demand_/, '')
  return known && Object.hasOwn(known, word) ? known[word] : undefined
}
