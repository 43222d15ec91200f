import { expect, test } from 'vitest'
import { startPruningCallers } from '../../src/orchestrator/ownership/retention.ts'

const HOUR_MS = 3_600_000

test('expired tickets and old answers are removed automatically, even after a failed attempt', async () => {
  const pruned: { readonly what: string; readonly before: number }[] = []
  let stop = () => {}
  const startedAtMs = Date.now()
  const turns = new Promise<void>((resolve) => {
    const prune = (what: string) => async (instant: Date) => {
      pruned.push({ what, before: instant.getTime() })
      if (pruned.length >= 6) resolve()
      if (pruned.length <= 2) throw new Error('away')
      return 0
    }
    stop = startPruningCallers(
      { tickets: { prune: prune('tickets') }, idempotency: { prune: prune('answers') }, budgets: { prune: async () => 0 } },
      2,
    )
  })
  await turns
  stop()
  const [ticket, answer] = pruned
  expect([ticket?.what, answer?.what]).toEqual(['tickets', 'answers'])
  expect(ticket?.before).toBeGreaterThanOrEqual(startedAtMs)
  expect(answer?.before).toBeLessThanOrEqual(Date.now() - 24 * HOUR_MS)
  expect(answer?.before).toBeGreaterThanOrEqual(startedAtMs - 24 * HOUR_MS)
  const count = pruned.length
  await new Promise((resolve) => setTimeout(resolve, 10))
  expect(pruned).toHaveLength(count)
})
