import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { StepResult } from '../../src/domain/execution/step-result.ts'
import { openStore } from '../../src/repositories/database.ts'
import {
  type ClosableJournal,
  createJournal,
  createSequence,
  type JournalPool,
} from '../../src/repositories/postgres/journal/journal.ts'
import type { Store } from '../../src/repositories/repository.ts'
import { openTestPostgres, type TestPostgres } from '../support/postgres.ts'
import { newClaim, newFlow, newThread, outcome, stepResult, update } from '../support/stored-data.ts'

let database: TestPostgres
let store: Store
let pool: pg.Pool
beforeAll(async () => {
  database = await openTestPostgres()
  store = await openStore({ url: database.url })
  pool = new pg.Pool({ connectionString: database.url })
  // One test ends all connections.
  pool.on('error', () => undefined)
  await store.threads.create(newThread({ id: 'thread' }))
})
afterAll(async () => {
  await pool?.end()
  await store?.close()
  await database?.drop()
})

type Statement = Parameters<JournalPool['query']>[0]
type Reply = Awaited<ReturnType<JournalPool['query']>>['rows'][number] & unknown[]

/** A pool between the journal and the database that counts statements and fails as scripted. */
function scriptedPool(before: (statement: Statement) => void = () => undefined, after: () => void = () => undefined) {
  const statements: Statement[] = []
  const scripted: JournalPool = {
    async query(statement) {
      statements.push(statement)
      before(statement)
      const answer = await pool.query<Reply>(statement)
      after()
      return answer
    },
  }
  return { pool: scripted, statements }
}

const open = (scripted: JournalPool, retryForMs = 5_000): ClosableJournal =>
  createJournal({ pool: scripted, nextRecorded: createSequence(Date.now), retryForMs, statementsAtOnce: 4 })

const failing = (code: string, times: number) => {
  let left = times
  return () => {
    if (left-- > 0) throw Object.assign(new Error(code), { code })
  }
}

async function runFlow(journal: ClosableJournal, steps = 3): Promise<void> {
  const flow = newFlow('thread')
  await journal.createFlow(flow)
  const claimed = await journal.claim(newClaim(flow.id))
  if (!('epoch' in claimed)) throw new Error('Expected to win the claim')
  const { epoch } = claimed
  for (let step = 0; step < steps; step++) {
    await journal.append({ flowId: flow.id, epoch, results: [stepResult(flow.id, `step-${step}`)], updates: [update(step + 1)] })
  }
  await journal.finish({ flowId: flow.id, epoch, updates: [update(steps + 1)], outcome: outcome() })
}

describe('the journal', () => {
  test('the journal writes a single flow with one statement per write', async () => {
    const { pool: counted, statements } = scriptedPool()
    const journal = open(counted)
    await runFlow(journal)
    expect(statements).toHaveLength(6)
    await journal.close()
  })

  test('the journal writes a hundred concurrent flows with less than one statement per flow', async () => {
    const { pool: counted, statements } = scriptedPool()
    const journal = open(counted)
    await Promise.all(Array.from({ length: 100 }, () => runFlow(journal)))
    expect(statements.length).toBeLessThan(100)
    await journal.close()
  })

  test("the journal runs at most four statements at once and keeps the order of each flow's writes", async () => {
    let started = 0
    let underWay = 0
    let most = 0
    let release: () => void = () => undefined
    const fourStarted = new Promise<void>((resolve) => {
      release = resolve
    })
    const journal = open({
      async query(statement) {
        most = Math.max(most, ++underWay)
        if (++started === 4) release()
        await fourStarted
        try {
          return await scriptedPool().pool.query(statement)
        } finally {
          underWay--
        }
      },
    })
    const runs = Array.from({ length: 12 }, async (_, index) => {
      // Each flow starts in another turn of the event loop: in one turn all writes would be one batch.
      for (let turn = 0; turn < index; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
      const flow = newFlow('thread')
      const answers = await Promise.all([
        journal.createFlow(flow),
        journal.claim(newClaim(flow.id)),
        journal.append({ flowId: flow.id, epoch: 1, results: [stepResult(flow.id, 'a')] }),
        journal.append({ flowId: flow.id, epoch: 1, results: [stepResult(flow.id, 'b')], updates: [update(1)] }),
        journal.finish({ flowId: flow.id, epoch: 1, updates: [update(2)], outcome: outcome() }),
      ])
      expect(answers[1]).toEqual({ epoch: 1 })
      expect((await store.flows.stepResults(flow.id)).map(({ stepId }) => stepId)).toEqual(['a', 'b'])
      expect((await store.updates.read(flow.id, 0, 10)).map(({ seq }) => seq)).toEqual([1, 2])
    })
    await Promise.all(runs)
    expect(most).toBe(4)
    await journal.close()
  })

  test('the journal finishes a flow in the statement of its last results', async () => {
    const { pool: counted, statements } = scriptedPool()
    const journal = open(counted)
    const flow = newFlow('thread')
    await journal.createFlow(flow)
    await journal.claim(newClaim(flow.id))
    const appended = journal.append({ flowId: flow.id, epoch: 1, results: [stepResult(flow.id, 'a')], updates: [update(1)] })
    // The orchestrator finishes a flow a few promises later.
    const finished = Promise.resolve().then(() => journal.finish({ flowId: flow.id, epoch: 1, outcome: outcome() }))
    await Promise.all([appended, finished])
    expect(statements).toHaveLength(3)
    expect(await store.flows.find(flow.id)).toMatchObject({ status: 'COMPLETED' })
    await journal.close()
  })

  describe('when an entry is refused', () => {
    const poison = (flowId: string) => stepResult(flowId, 'poison', { startedAt: new Date(Number.NaN) })
    let journal: ClosableJournal
    let before: () => void
    beforeEach(() => {
      before = () => undefined
      journal = open(scriptedPool(() => before()).pool)
      return () => journal.close()
    })
    const claimed = async () => {
      const flow = newFlow('thread')
      await journal.createFlow(flow)
      await journal.claim(newClaim(flow.id))
      return flow.id
    }
    const write = (flowId: string, results: readonly StepResult[]) => journal.append({ flowId, epoch: 1, results })
    const finish = (flowId: string, status: 'COMPLETED' | 'FAILED') =>
      journal.finish({ flowId, epoch: 1, outcome: outcome({ status }) })
    const codeOf = (writing: Promise<void>) =>
      writing.then(
        () => 'written',
        (error: { code: string }) => error.code,
      )

    test('a refused entry keeps its flow from being finished later in the statement, while other flows are finished', async () => {
      const [broken, neighbour] = [await claimed(), await claimed()]
      const codes = await Promise.all(
        [
          write(broken, [stepResult(broken, 'before')]),
          write(neighbour, [stepResult(neighbour, 'a')]),
          write(broken, [poison(broken)]),
          write(broken, [stepResult(broken, 'after')]),
          finish(neighbour, 'COMPLETED'),
          finish(broken, 'COMPLETED'),
        ].map(codeOf),
      )
      expect(codes).toEqual(['written', 'written', 'INTERNAL', 'INTERNAL', 'written', 'INTERNAL'])
      expect((await store.flows.find(broken))?.status).toBe('RUNNING')
      expect((await store.flows.stepResults(broken)).map(({ stepId }) => stepId)).toEqual(['before'])
      expect((await store.flows.find(neighbour))?.status).toBe('COMPLETED')
    })

    test('a refused entry keeps its flow from being finished by a waiting write, while a later write can finish it', async () => {
      const flowId = await claimed()
      let finished: Promise<string> | undefined
      before = () => {
        before = () => undefined
        finished = codeOf(finish(flowId, 'COMPLETED'))
      }
      expect(await codeOf(write(flowId, [poison(flowId)]))).toBe('INTERNAL')
      expect(await codeOf(finish(flowId, 'FAILED'))).toBe('written')
      expect(await finished).toBe('INTERNAL')
      expect((await store.flows.find(flowId))?.status).toBe('FAILED')
    })
  })

  test('the journal sends a definition once per process', async () => {
    const { pool: counted, statements } = scriptedPool()
    const journal = open(counted)
    await journal.createFlow(newFlow('thread'))
    await journal.createFlow(newFlow('thread'))
    const withDefinition = statements.filter(({ values }) => values.some((value) => value.includes('"is_data"')))
    expect(withDefinition).toHaveLength(1)
    await journal.close()
  })

  test('the journal rejects a write that the database refuses and completes all others of the batch', async () => {
    const journal = open(scriptedPool().pool)
    const circular: Record<string, unknown> = {}
    circular.self = circular
    const flows = Array.from({ length: 12 }, (_, index) => {
      if (index === 3) return newFlow('thread', { createdAt: new Date(Number.NaN) })
      if (index === 7) return newFlow('thread', { metadata: circular })
      if (index === 9) return newFlow('thread', { id: 'not a uuid' })
      return newFlow('thread')
    })
    const settled = await Promise.allSettled(flows.map((flow) => journal.createFlow(flow)))
    expect(settled.flatMap(({ status }, index) => (status === 'rejected' ? [index] : []))).toEqual([3, 7, 9])
    for (const [index, flow] of flows.entries()) {
      if (![3, 7, 9].includes(index)) expect(await store.flows.find(flow.id)).toBeDefined()
    }
    await journal.close()
  })

  test('the journal reports a refused write without repeating its text', async () => {
    const journal = open(scriptedPool().pool)
    const flow = newFlow('thread', { createdAt: new Date(Number.NaN), input: 'canary-7f3a' })
    const error = await journal.createFlow(flow).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'INTERNAL', details: { sqlState: '23502', column: 'created_at' } })
    expect(JSON.stringify(error) + String(error) + String(error instanceof Error && error.cause)).not.toContain('canary-7f3a')
    await journal.close()
  })

  test.each(['ECONNREFUSED', '57P01', '40P01'])('the journal keeps the batch while the database answers %s', async (code) => {
    const { pool: away, statements } = scriptedPool(failing(code, 1))
    const journal = open(away)
    const flow = newFlow('thread')
    await journal.createFlow(flow)
    expect(statements).toHaveLength(2)
    expect(await store.flows.find(flow.id)).toBeDefined()
    await journal.close()
  })

  test('the journal gives up with DATABASE_UNAVAILABLE if the database stays unreachable', async () => {
    const { pool: away } = scriptedPool(failing('ECONNREFUSED', 1_000))
    const journal = open(away, 0)
    await expect(journal.createFlow(newFlow('thread'))).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE', retryable: true })
    await journal.close()
  })

  describe('when the answer to a write is lost', () => {
    let journal: ClosableJournal
    let cut: () => void
    beforeEach(() => {
      cut = () => undefined
      journal = open(scriptedPool(undefined, () => cut()).pool)
      return () => journal.close()
    })

    test('a claim whose reply was lost succeeds under the same epoch', async () => {
      const flow = newFlow('thread')
      await journal.createFlow(flow)
      cut = failing('ECONNRESET', 1)
      expect(await journal.claim(newClaim(flow.id))).toEqual({ epoch: 1 })
      expect(await store.flows.find(flow.id)).toMatchObject({ ownerEpoch: 1, status: 'RUNNING' })
    })

    test('results, attempts and updates whose reply was lost are stored once', async () => {
      const flow = newFlow('thread')
      cut = failing('ECONNRESET', 1)
      await journal.createFlow(flow)
      await journal.claim(newClaim(flow.id))
      cut = failing('ECONNRESET', 1)
      await journal.append({ flowId: flow.id, epoch: 1, results: [stepResult(flow.id, 'draft')], updates: [update(1)] })
      cut = failing('ECONNRESET', 1)
      await journal.finish({ flowId: flow.id, epoch: 1, outcome: outcome() })
      const [result, ...more] = await store.flows.stepResults(flow.id)
      expect([result?.attempts.length, more]).toEqual([1, []])
      expect(await store.updates.read(flow.id, 0, 10)).toHaveLength(1)
      expect((await store.flows.find(flow.id))?.status).toBe('COMPLETED')
    })

    test('a pause whose reply was lost makes a flow due that was decided about and woken before it is written again', async () => {
      const flow = newFlow('thread')
      const key = { flowId: flow.id, path: 'ok', iteration: 1, hash: 'h' }
      const at = new Date()
      let isWoken = false
      const decide = async () => {
        expect(await store.waits.decide({ ...key, decision: { approved: true }, by: 'ada', at })).toBe(true)
        isWoken = await store.queue.wake(flow.id)
        throw Object.assign(new Error('cut'), { code: 'ECONNRESET' })
      }
      let cutReply = () => Promise.resolve()
      const cutting = open({
        async query(statement) {
          const answer = await pool.query<Reply>(statement)
          const cutNow = cutReply
          cutReply = () => Promise.resolve()
          await cutNow()
          return answer
        },
      })
      await cutting.createFlow(flow)
      await cutting.claim(newClaim(flow.id))
      cutReply = decide
      await cutting.finish({
        flowId: flow.id,
        epoch: 1,
        waits: [{ ...key, threadId: 'thread', kind: 'approve', since: at }],
        outcome: outcome({ status: 'PAUSED' }),
      })
      await cutting.close()
      expect(isWoken).toBe(true)
      expect(await store.flows.find(flow.id)).toMatchObject({ status: 'PAUSED', ownerEpoch: 1 })
      expect(await store.queue.wakeDue(1_000)).toContain(flow.id)
      expect(await store.waits.of(flow.id)).toMatchObject([{ decision: { approved: true } }])
    })
  })

  test('the journal completes all accepted writes when it is closed, and accepts none afterwards', async () => {
    const journal = open(scriptedPool().pool)
    const flow = newFlow('thread')
    const writing = journal.createFlow(flow)
    await journal.close()
    await writing
    expect(await store.flows.find(flow.id)).toBeDefined()
    await expect(journal.createFlow(newFlow('thread'))).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' })
  })
})

describe('two processes on one Postgres', () => {
  let other: Store
  beforeAll(async () => {
    other = await openStore({ url: database.url })
  })
  afterAll(() => other?.close())

  test('only one of two processes wins a claim', async () => {
    for (let round = 0; round < 10; round++) {
      const flow = newFlow('thread')
      await store.journal.createFlow(flow)
      const answers = await Promise.all([store, other].map(({ journal }) => journal.claim(newClaim(flow.id))))
      expect(answers.filter((answer) => 'epoch' in answer)).toHaveLength(1)
      expect(answers).toContainEqual({ status: 'RUNNING' })
    }
  })

  test('a process never records under an epoch that another process has ended', async () => {
    for (let round = 0; round < 10; round++) {
      const flow = newFlow('thread')
      await store.journal.createFlow(flow)
      await store.journal.claim(newClaim(flow.id))
      const write = { flowId: flow.id, epoch: 1, results: [stepResult(flow.id, 'draft')], updates: [update(1)] }
      const [appended, taken] = await Promise.allSettled([
        store.journal.append(write),
        other.journal.claim(newClaim(flow.id, { from: ['RUNNING'] })),
      ])
      expect(taken).toMatchObject({ status: 'fulfilled', value: { epoch: 2 } })
      expect(await other.flows.stepResults(flow.id)).toHaveLength(appended.status === 'fulfilled' ? 1 : 0)
      await expect(store.journal.append({ ...write, updates: [update(2)] })).rejects.toMatchObject({ code: 'FLOW_INTERRUPTED' })
    }
  })

  test('a write waits for a concurrent claim of the same flow', async () => {
    const flow = newFlow('thread')
    await store.journal.createFlow(flow)
    await store.journal.claim(newClaim(flow.id))
    const client = await pool.connect()
    await client.query('begin')
    await client.query('update polyphony_flows set owner_epoch = 2 where id = $1', [flow.id])
    const append = store.journal.append({ flowId: flow.id, epoch: 1, results: [stepResult(flow.id, 'draft')] })
    const settled = append.then(
      () => 'recorded',
      (error: { code: string }) => error.code,
    )
    await client.query('select pg_sleep(0.03)')
    await client.query('commit')
    client.release()
    expect(await settled).toBe('FLOW_INTERRUPTED')
    expect(await store.flows.stepResults(flow.id)).toEqual([])
  })

  test('a flow that is created while another process deletes its thread is not kept', async () => {
    const thread = newThread()
    await store.threads.create(thread)
    const client = await pool.connect()
    await client.query('begin')
    const late = createJournal({
      pool: { query: (statement) => client.query<Reply>(statement) },
      nextRecorded: createSequence(Date.now),
      retryForMs: 0,
      statementsAtOnce: 1,
    })
    const flow = newFlow(thread.id)
    await late.createFlow(flow)
    const deleted = store.threads.delete(thread.id)
    await pool.query('select pg_sleep(0.03)')
    await client.query('commit')
    client.release()
    expect(await deleted).toBe(true)
    expect(await store.flows.find(flow.id)).toBeUndefined()
  })

  test('a flow in a thread that another process is deleting is refused without waiting', async () => {
    const thread = newThread()
    await store.threads.create(thread)
    const client = await pool.connect()
    await client.query('begin')
    await client.query('delete from polyphony_threads where id = $1', [thread.id])
    const created = Promise.allSettled([
      store.journal.createFlow(newFlow(thread.id)),
      store.journal.createFlow(newFlow('thread')),
    ])
    expect(await created).toMatchObject([{ reason: { code: 'THREAD_NOT_FOUND' } }, { status: 'fulfilled' }])
    await client.query('commit')
    client.release()
  })

  test('two processes survive when the server ends their connections', async () => {
    const flow = newFlow('thread')
    await store.journal.createFlow(flow)
    await pool.query(
      'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
    )
    expect(await store.journal.claim(newClaim(flow.id, { ownerId: randomUUID() }))).toEqual({ epoch: 1 })
  })
})
