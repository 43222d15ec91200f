const FIRST_DELAY_MS = 5_000
const FACTOR = 4
const LONGEST_DELAY_MS = 12 * 3_600_000
const MAX_ATTEMPTS = 13
/** Part of a delay that is random, so that the deliveries of a receiver that was down do not all return at once. */
const JITTER = 0.2

/**
 * Milliseconds until the next attempt after `attempt` attempts: 5 s, 20 s, 80 s, 5 min, 21 min, 85 min, 5.7 h, then
 * every 12 h, each up to 20 % less or more. Undefined after 13 attempts, which is nearly three days. A wait that the
 * receiver asks for counts if it is longer, up to 12 h.
 */
export function nextDelayMs(attempt: number, random: number, retryAfterMs = 0): number | undefined {
  if (attempt >= MAX_ATTEMPTS) return undefined
  const delayMs = Math.min(FIRST_DELAY_MS * FACTOR ** (attempt - 1), LONGEST_DELAY_MS)
  const jittered = delayMs * (1 - JITTER + 2 * JITTER * random)
  return Math.round(Math.max(jittered, Math.min(retryAfterMs, LONGEST_DELAY_MS)))
}
