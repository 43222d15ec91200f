/** Patterns of at most this length are found in time that grows only with the text. */
const SHORT_PATTERN = 64
/** Character comparisons that take as long as one unit of template memory. */
const COMPARISONS_PER_UNIT = 50

/**
 * Worst-case cost of searching a text for a pattern, in units of template memory. V8 needs time proportional to the
 * product of both lengths for patterns like aaabaaa (50,000 characters in 100,000: one second; Node 20.20, November
 * 2026).
 */
export function searchCost(text: unknown, pattern: unknown): number {
  if (typeof text !== 'string' || typeof pattern !== 'string' || pattern.length <= SHORT_PATTERN) return 0
  return (text.length * pattern.length) / COMPARISONS_PER_UNIT
}
