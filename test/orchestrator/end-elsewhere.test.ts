import { expect, test } from 'vitest'
import type { FlowUpdate } from '../../src/domain/execution/flow-update.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { createEndElsewhere } from '../../src/orchestrator/runs/end-elsewhere.ts'
import type { StreamUpdatesOptions } from '../../src/orchestrator/updates/live-updates.ts'
import { createMemoryStore } from '../../src/repositories/memory/memory-store.ts'
import type { StoredFlow } from '../../src/repositories/repository.ts'

const FLOW = '01a22530-b82e-7da5-b937-ec3954efc969'
const STORED: StoredFlow = {
  id: FLOW,
  threadId: 'thread',
  userId: 'ada',
  name: 'one',
  flowType: 'sequential',
  definition: { hash: 'hash', json: '{}', isData: true },
  status: 'CANCELLED',
  createdAt: new Date(0),
  ownerEpoch: 1,
  simulated: false,
  error: new OrchestratorError('FLOW_CANCELLED', 'enough').toJSON(),
}
const NEVER = new AbortController().signal

const skipped = (seq: number): FlowUpdate => ({
  seq,
  flowId: FLOW,
  type: 'step_skipped',
  path: 'a',
  stepId: 'a',
  data: { reason: 'no' },
  timestamp: new Date(seq),
})

/** A stream of two updates, during which the database is away once. */
function createInterruptedStream() {
  const asked: number[] = []
  return {
    asked,
    async *stream(_flowId: string, { afterSeq }: StreamUpdatesOptions): AsyncGenerator<FlowUpdate, void> {
      asked.push(afterSeq)
      if (afterSeq < 1) yield skipped(1)
      if (asked.length === 1) throw new OrchestratorError('DATABASE_UNAVAILABLE', 'away', { retryable: true })
      yield skipped(2)
    },
  }
}

test('a caller that waits for a flow of another process gets every update once, although the database was away', async () => {
  const live = createInterruptedStream()
  const elsewhere = createEndElsewhere({ store: createMemoryStore(), live })
  const seen: number[] = []
  const end = await elsewhere.wait(FLOW, { afterSeq: 0, onUpdate: ({ seq }) => seen.push(seq), signal: NEVER })
  expect(end).toMatchObject({ error: { code: 'FLOW_NOT_FOUND' } })
  expect(seen).toEqual([1, 2])
  expect(live.asked).toEqual([0, 1])
})

test('an interrupted flow is awaited if its epoch has changed, and not if nobody has it or this process closes', async () => {
  const error = new OrchestratorError('FLOW_INTERRUPTED', 'lost')
  const store = createMemoryStore()
  const held = { ...store, flows: { ...store.flows, find: async () => ({ ...STORED, ownerEpoch: 1 }) } }
  const elsewhere = createEndElsewhere({ store: held, live: createInterruptedStream(), pollMs: 1 })
  const waitAfter = (epoch: number, isRequeued: boolean) =>
    elsewhere.waitAfter({ error, epoch, isRequeued }, FLOW, { afterSeq: 0, signal: NEVER })
  expect(await waitAfter(1, false)).toEqual({ error })
  expect(await waitAfter(0, false)).toMatchObject({ error: { code: 'FLOW_CANCELLED' } })
  expect(await waitAfter(1, true)).toMatchObject({ error: { code: 'FLOW_CANCELLED' } })
  elsewhere.beginClosing()
  expect(await waitAfter(0, true)).toEqual({ error })
})

test('closing ends the waiting with its reason', async () => {
  const elsewhere = createEndElsewhere({ store: createMemoryStore(), live: createInterruptedStream(), pollMs: 3_600_000 })
  const end = elsewhere.wait(FLOW, { afterSeq: 0, signal: NEVER })
  elsewhere.close(new OrchestratorError('FLOW_INTERRUPTED', 'closing'))
  expect(await end).toMatchObject({ error: { code: 'FLOW_INTERRUPTED', details: { flowId: FLOW } } })
})
