export interface Sample<T> {
  readonly item: T
  readonly text: string
  readonly parsed?: unknown
}

/**
 * The answer most samples give (self-consistency, arXiv 2203.11171): equal values where answers were read through a schema, else equal text
 * but for case, spacing and closing punctuation. A tie goes to the earliest.
 */
export function majority<T>(samples: readonly Sample<T>[]): { readonly item: T; readonly votes: number } {
  const votes = new Map<string, { readonly item: T; votes: number }>()
  for (const sample of samples) {
    const ballot = sample.parsed === undefined ? normalized(sample.text) : JSON.stringify(sample.parsed)
    const entry = votes.get(ballot)
    if (entry) entry.votes++
    else votes.set(ballot, { item: sample.item, votes: 1 })
  }
  return [...votes.values()].reduce((best, entry) => (entry.votes > best.votes ? entry : best))
}

const normalized = (text: string): string =>
  text
    .toLowerCase()
    .replace(/\s+/g, ' ')
    .trim()
    .replace(/[.!\s]+$/, '')
