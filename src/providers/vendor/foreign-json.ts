/** An object in the JSON of a vendor, whose fields are unknown. */
export type ForeignRecord = Readonly<Record<string, unknown>>

const NO_FIELDS: ForeignRecord = {}
const NO_ITEMS: readonly unknown[] = []

export const isRecord = (value: unknown): value is ForeignRecord =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
export const recordOf = (value: unknown): ForeignRecord => (isRecord(value) ? value : NO_FIELDS)
export const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : NO_ITEMS)
/** The value if it is a non-empty string. */
export const textOf = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined)
/** The value if it is a finite number that is not negative. */
export const countOf = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined
/** A map from a vendor's words. An object would also contain inherited keys such as `constructor`. */
export const wordMap = <Value>(words: Readonly<Record<string, Value>>): ReadonlyMap<string, Value> =>
  new Map(Object.entries(words))
