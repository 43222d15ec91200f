import { expect, test } from 'vitest'
import { CancellationToken } from '../../src/async/cancellation-token.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { createUpdateLog } from '../../src/orchestrator/updates/update-log.ts'
import { createMemoryStore } from '../../src/repositories/memory/memory-store.ts'

const settled = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

test('the outcome of a flow is written when the database is reachable again, so that it does not stay RUNNING', async () => {
  const { journal } = createMemoryStore()
  const ends: string[] = []
  let refusals = 2
  const log = createUpdateLog({
    now: () => new Date(0),
    onStreamedFlowEnd: () => undefined,
    onStored: () => {},
    rewriteMs: 1,
    journal: {
      ...journal,
      finish: async ({ outcome }) => {
        if (refusals-- > 0) throw new OrchestratorError('DATABASE_UNAVAILABLE', 'away')
        ends.push(outcome.status)
      },
    },
  })
  const flow = log.open({ flowId: 'f', epoch: 1, lastSeq: 0, cancellation: new CancellationToken() })
  const end = (status: 'COMPLETED' | 'FAILED') => flow.finish({ status, simulated: false })
  await expect(end('COMPLETED')).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' })
  await expect(end('FAILED')).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' })
  for (let turn = 0; turn < 40 && ends.length === 0; turn++) await settled(5)
  await settled(5)
  log.close()
  expect(ends).toEqual(['FAILED'])
})

test('an outcome that is refused because of another owner is not retried', async () => {
  const { journal } = createMemoryStore()
  let tries = 0
  const finish = async () => {
    tries++
    throw new OrchestratorError('FLOW_INTERRUPTED', 'taken')
  }
  const log = createUpdateLog({
    now: () => new Date(0),
    onStreamedFlowEnd: () => undefined,
    onStored: () => {},
    rewriteMs: 1,
    journal: { ...journal, finish },
  })
  const flow = log.open({ flowId: 'f', epoch: 1, lastSeq: 0, cancellation: new CancellationToken() })
  await expect(flow.finish({ status: 'FAILED', simulated: false })).rejects.toMatchObject({ code: 'FLOW_INTERRUPTED' })
  await settled(20)
  log.close()
  expect(tries).toBe(1)
})
