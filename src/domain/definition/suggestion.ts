/**
 * The candidate that a mistyped name most likely means: at most a third of its letters differ, or one is a prefix of
 * the other.
 */
export function findSuggestion(name: string, candidates: Iterable<string>): string | undefined {
  if (name.length > 100) return undefined
  const wanted = name.toLowerCase()
  let best: string | undefined
  let bestDistance = Math.max(1, Math.floor(name.length / 3)) + 1
  for (const candidate of candidates) {
    if (candidate === name || Math.abs(candidate.length - name.length) >= bestDistance) continue
    const distance = editDistance(wanted, candidate.toLowerCase(), bestDistance)
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return (
    best ?? (wanted.length < 3 ? undefined : [...candidates].find((candidate) => beginsAlike(wanted, candidate.toLowerCase())))
  )
}

const beginsAlike = (a: string, b: string): boolean => a !== b && b.length >= 3 && (a.startsWith(b) || b.startsWith(a))

/** A quoted name for a message; long names are cut. */
export const quoted = (name: string): string => (name.length > 70 ? `"${name.slice(0, 70)}…"` : `"${name}"`)

/** Appends "did you mean" to a message where there is a suggestion. */
export const withSuggestion = (message: string, suggestion: string | undefined): string =>
  suggestion === undefined ? message : `${message}; did you mean ${quoted(suggestion)}?`

/**
 * Edit distance: the insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`, at most
 * `limit`.
 */
function editDistance(a: string, b: string, limit: number): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    let smallest = row
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1]
      let cost = Math.min(at(last, column) + 1, at(current, column - 1) + 1, at(last, column - 1) + (same ? 0 : 1))
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
        cost = Math.min(cost, at(beforeLast, column - 2) + 1)
      }
      current.push(cost)
      smallest = Math.min(smallest, cost)
    }
    if (smallest >= limit) return limit
    beforeLast = last
    last = current
  }
  return at(last, b.length)
}

const at = (row: readonly number[], column: number): number => row[column] ?? Number.POSITIVE_INFINITY
