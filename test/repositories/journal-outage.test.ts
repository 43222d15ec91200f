import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import {
  createJournal,
  createSequence,
  type JournalOptions,
  type JournalPool,
} from '../../src/repositories/postgres/journal/journal.ts'
import { newClaim, newFlow, outcome, stepResult } from '../support/stored-data.ts'

/** A journal over a database that is away until `back` is called. */
function away(options: Partial<JournalOptions> = {}) {
  const written: string[] = []
  let isAway = true
  const pool: JournalPool = {
    async query({ values }) {
      if (isAway) throw Object.assign(new Error('away'), { code: 'ECONNREFUSED' })
      written.push(values.join())
      return { rows: [] }
    },
  }
  const journal = createJournal({ pool, nextRecorded: createSequence(Date.now), retryForMs: 1, statementsAtOnce: 1, ...options })
  const back = () => {
    isAway = false
  }
  return { journal, written, back }
}

const result = (flowId: string, output = 'paid for') => ({ flowId, epoch: 1, results: [stepResult(flowId, 'a', { output })] })
const UNAVAILABLE = { code: 'DATABASE_UNAVAILABLE' }
const failed = outcome({ status: 'FAILED', error: { code: 'STEP_FAILED', message: 'x', retryable: false, details: {} } })

test('results wait for a database that is away, and are written when it is back; callers that start flows are told', async () => {
  const { journal, written, back } = away()
  const flowId = randomUUID()
  const kept = journal.append(result(flowId))
  const ended = journal.finish({ flowId, epoch: 1, outcome: outcome() })
  await expect(journal.createFlow(newFlow('thread'))).rejects.toMatchObject(UNAVAILABLE)
  await expect(journal.claim(newClaim(randomUUID()))).rejects.toMatchObject(UNAVAILABLE)
  back()
  await Promise.all([kept, ended])
  expect(written.join()).toContain('paid for')
  await journal.close()
})

test('a creation that waits behind results in every statement fails in time', async () => {
  const { journal, back } = away()
  const kept = journal.append(result(randomUUID()))
  // In a later turn, so that it does not share the statement of the result.
  await new Promise((resolve) => setImmediate(resolve))
  await expect(journal.createFlow(newFlow('thread'))).rejects.toMatchObject(UNAVAILABLE)
  back()
  await kept
  await journal.close()
})

test('results above the limit of bytes are rejected and reported once, but not the end of the flow that fails then', async () => {
  const reports: number[] = []
  const { journal, back } = away({ maxKeptBytes: 2_000, onOverflow: (bytes) => reports.push(bytes) })
  const flowId = randomUUID()
  const kept = journal.append(result(flowId))
  await expect(journal.createFlow(newFlow('thread'))).rejects.toMatchObject(UNAVAILABLE)
  const large = 'x'.repeat(3_000)
  await expect(journal.append(result(flowId, large))).rejects.toMatchObject(UNAVAILABLE)
  await expect(journal.append(result(randomUUID(), large))).rejects.toMatchObject(UNAVAILABLE)
  const ended = journal.finish({ ...result(flowId, large), outcome: failed })
  back()
  await Promise.all([kept, ended])
  expect(reports).toHaveLength(1)
  await journal.close()
})

test('closing during an outage rejects what cannot be written instead of waiting for ever', async () => {
  const { journal } = away()
  const lost = [journal.append(result(randomUUID())), journal.finish({ flowId: randomUUID(), epoch: 1, outcome: outcome() })]
  const answers = Promise.allSettled(lost)
  journal.expectClose()
  expect(await answers).toMatchObject([{ reason: UNAVAILABLE }, { reason: UNAVAILABLE }])
  await journal.close()
})
