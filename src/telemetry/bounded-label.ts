/** What a value outside of the bounds is counted as. */
export const OTHER = 'other'

/** The value of a label for a value found; never one beyond its bounds. */
export type Label = (value: string) => string

/** A label that takes these values and no other. */
export function knownLabel(values: Iterable<string>): Label {
  const known = new Set(values)
  return (value) => (known.has(value) ? value : OTHER)
}

/** A label that takes the first values it meets, at most so many: whatever is passed by mistake cannot fill the memory. */
export function cappedLabel(maxValues: number): Label {
  const seen = new Set<string>()
  return (value) => {
    if (seen.has(value)) return value
    if (seen.size >= maxValues) return OTHER
    seen.add(value)
    return value
  }
}
