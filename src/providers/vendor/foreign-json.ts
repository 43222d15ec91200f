/** Reading values of vendors' JSON, of which nothing is assumed. */
export type ForeignRecord = Readonly<Record<string, unknown>>

const NO_FIELDS: ForeignRecord = {}
const NO_ITEMS: readonly unknown[] = []

export const isRecord = (value: unknown): value is ForeignRecord =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
export const recordOf = (value: unknown): ForeignRecord => (isRecord(value) ? value : NO_FIELDS)
export const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : NO_ITEMS)
/** A text that is not empty. */
export const textOf = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined)
/** A count or amount: finite and not negative. */
export const countOf = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined
