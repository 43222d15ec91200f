/** The label for all values beyond the bounds. */
export const OTHER = 'other'

/** Maps a value to a label of a bounded set, because every label is a time series that stays in memory. */
export type Label = (value: string) => string

/** Keeps only these values. */
export function knownLabel(values: Iterable<string>): Label {
  const known = new Set(values)
  return (value) => (known.has(value) ? value : OTHER)
}

/** Keeps the first `maxValues` distinct values. */
export function cappedLabel(maxValues: number): Label {
  const seen = new Set<string>()
  return (value) => {
    if (seen.has(value)) return value
    if (seen.size >= maxValues) return OTHER
    seen.add(value)
    return value
  }
}
