import { randomBytes, randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import type { Logger } from '../../../src/config/config.ts'
import { addSlotSql } from '../../../src/engines/bullmq/add-slot-sql.ts'
import { openBullmq } from '../../../src/engines/bullmq/open-bullmq.ts'
import { createRunRegistry } from '../../../src/orchestrator/runs/run-registry.ts'
import { openStore } from '../../../src/repositories/database.ts'
import { createStoreFixture } from '../../contracts/store-fixture.ts'
import { until } from '../../support/flows.ts'
import { openTestPostgres } from '../../support/postgres.ts'
import { newClaim, outcome } from '../../support/stored-data.ts'

test('a worker that cannot compare its clock at its start takes no flow until it agrees with the database', async () => {
  const queue = `polyphony-test-${randomBytes(6).toString('hex')}`
  const server = await openTestPostgres()
  const lines: string[] = []
  const log = (message: string) => void lines.push(message)
  const logger: Logger = { error: log, warn: log, info: log, debug: log }
  const bullmq = await openBullmq({
    database: { connectionString: server.url },
    mayCreateSchema: true,
    settings: { concurrency: 10, lockMs: 2_000, stalledMs: 500, queue },
    logger,
  })
  const store = await openStore({ url: server.url, addJob: addSlotSql(queue) })
  const { pendingFlow } = createStoreFixture(() => store)
  let reads = 0
  let offsetMs: number | undefined
  const driven: string[] = []
  const engine = bullmq.create({
    runs: createRunRegistry(),
    flows: {
      ...store.queue,
      claim: store.journal.claim,
      enqueue: store.journal.enqueue,
      async clockOffsetMs() {
        reads++
        if (offsetMs === undefined) throw new Error('the database is away')
        return offsetMs
      },
    },
    ownerId: randomUUID(),
    registered: () => [],
    limits: {},
    takesFlows: true,
    now: () => new Date(),
  })
  try {
    engine.work(async (job) => {
      driven.push(job.flowId)
      await store.journal.finish({ ...job, outcome: outcome() })
    })
    await engine.takeQueued()
    const { id } = await pendingFlow()
    const { ownerId: _, ...start } = newClaim(id, { runOptions: {} })
    await engine.start(start)
    await until(() => reads >= 3)
    expect(driven).toEqual([])
    expect(await engine.health()).toMatchObject({
      ok: true,
      problem: 'the clock could not be compared with that of the database yet',
    })
    expect(lines).toEqual(['the clock could not be compared with that of the database yet: no flows are taken until then'])
    offsetMs = 0
    await until(() => driven.length > 0)
    expect(driven).toEqual([id])
    expect(await engine.health()).not.toHaveProperty('problem')
    expect(lines.slice(1)).toEqual(['the clock agrees with that of the database: flows are taken'])
  } finally {
    await engine.close(new Error('the test is over'))
    await store.close()
    await server.drop()
  }
})
