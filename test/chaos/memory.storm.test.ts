import { describe, expect, onTestFinished, test } from 'vitest'
import { inParallel } from '../faults/observation.ts'
import { collectGarbage } from '../support/garbage.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { openTestPostgres } from '../support/postgres.ts'
import { createCallLog } from './call-log.ts'
import { CHAOS_USER, lineOf } from './chaos-flows.ts'
import { CHAOS_ENGINES } from './engines.ts'

/** The long form runs 10,000 flows after the warm-up. */
const FLOWS = Number(process.env.CHAOS_SHORT_FLOWS ?? 2_000)
const WARM_UP = 1_000
/** Flows between two readings. */
const STRETCH = 500
const WIDTH = 50
const BYTES_PER_FLOW = 1_000_000 / 1_000

/** Bytes in use once the garbage is gone, on the heap and outside it. */
async function usedBytes(): Promise<number> {
  await collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** Slope of the line through the readings with the least squares, per step. */
function slopeOf(readings: readonly number[]): number {
  const middle = (readings.length - 1) / 2
  const mean = readings.reduce((sum, value) => sum + value, 0) / readings.length
  const covariance = readings.reduce((sum, value, index) => sum + (index - middle) * (value - mean), 0)
  return covariance / readings.reduce((sum, _, index) => sum + (index - middle) ** 2, 0)
}

describe.each(CHAOS_ENGINES)('$name', ({ configOf, problem, clear }) => {
  test.skipIf(problem)(
    `the memory of a process grows by at most 1 MB per 1,000 of ${FLOWS} short flows`,
    { timeout: 240_000 + FLOWS * 50 },
    async () => {
      const { url, drop } = await openTestPostgres()
      onTestFinished(async () => {
        await drop()
        await clear?.()
      })
      const provider = await createCallLog({ answerMs: () => 0, keepsCalls: false })
      onTestFinished(provider.close)
      const polyphony = await openTestPolyphony(configOf(url, provider.url))
      onTestFinished(() => polyphony.close())
      const { orchestrator, conversations } = polyphony
      await polyphony.resumeInterrupted()
      const { id: threadId } = await conversations.createThread(CHAOS_USER)
      const run = (count: number) =>
        inParallel(
          Array.from({ length: count }, (_, index) => index),
          WIDTH,
          async (number) => {
            const { id } = await orchestrator.createFlow(threadId, CHAOS_USER, lineOf(`run ${number % 10}`, 2))
            const { status } = await orchestrator.executeFlow(id, CHAOS_USER, { input: 'q', streaming: true })
            expect(status).toBe('COMPLETED')
          },
        )
      await run(WARM_UP)
      const readings = [await usedBytes()]
      for (let done = 0; done < FLOWS; done += STRETCH) {
        await run(STRETCH)
        readings.push(await usedBytes())
      }
      const perFlow = slopeOf(readings) / STRETCH
      console.log(`${perFlow.toFixed(0)} bytes per flow; MB: ${readings.map((bytes) => (bytes / 1e6).toFixed(1)).join(' ')}`)
      expect(perFlow).toBeLessThanOrEqual(BYTES_PER_FLOW)
    },
  )
})
