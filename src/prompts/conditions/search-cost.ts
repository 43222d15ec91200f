/** Patterns up to here are found in time that grows with the text alone. */
const SHORT_PATTERN = 64
/** Comparisons of characters in the time that one character of memory takes. */
const COMPARISONS_PER_UNIT = 50

/**
 * What looking for a pattern in a text costs at worst, in units of template memory. V8 multiplies the lengths for patterns like aaabaaa
 * (50,000 characters in 100,000: one second; Node 20.20, November 2026).
 */
export function searchCost(text: unknown, pattern: unknown): number {
  if (typeof text !== 'string' || typeof pattern !== 'string' || pattern.length <= SHORT_PATTERN) return 0
  return (text.length * pattern.length) / COMPARISONS_PER_UNIT
}
