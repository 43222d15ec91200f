const fieldOf = (parsed: unknown, name: string): unknown =>
  typeof parsed === 'object' && parsed !== null ? Reflect.get(parsed, name) : undefined

/** True only for a verdict that says so. */
export const approvedBy = (parsed: unknown): boolean => fieldOf(parsed, 'approved') === true

/** Score of a verdict, 0 to 1. A verdict that only approves counts as 1; anything else is no verdict, never 0. */
export function scoreOf(parsed: unknown): number | undefined {
  const score = fieldOf(parsed, 'score')
  if (typeof score === 'number' && score >= 0 && score <= 1) return score
  return approvedBy(parsed) ? 1 : undefined
}
