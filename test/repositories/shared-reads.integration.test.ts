import { DataSource } from 'typeorm'
import { expect, test } from 'vitest'
import { createNotificationBus } from '../../src/notifications/notification-bus.ts'
import { createLiveUpdates } from '../../src/orchestrator/updates/live-updates.ts'
import { createReadUpdates } from '../../src/orchestrator/updates/read-updates.ts'
import { openStore } from '../../src/repositories/database.ts'
import { poolOf } from '../../src/repositories/postgres/data-source.ts'
import { createStoreFixture } from '../contracts/store-fixture.ts'
import { until } from '../support/flows.ts'
import { createMemoryTransport } from '../support/memory-transport.ts'
import { openTestPostgres } from '../support/postgres.ts'
import { update } from '../support/stored-data.ts'

const FLOWS = 2_000

test('two thousand flows of another process are streamed with a bounded number of statements', async (context) => {
  const database = await openTestPostgres()
  const dataSource = await new DataSource({ type: 'postgres', url: database.url }).initialize()
  const pool = poolOf(dataSource)
  let statements = 0
  const { query } = pool
  Object.assign(pool, {
    query: (...given: Parameters<typeof query>) => {
      statements++
      return query.apply(pool, given)
    },
  })
  const reading = await openStore({ url: dataSource })
  const writing = await openStore({ url: database.url })
  context.onTestFinished(async () => {
    await Promise.all([reading.close(), writing.close()])
    await dataSource.destroy()
    await database.drop()
  })
  const transport = createMemoryTransport()
  const [busHere, busThere] = ['here', 'there'].map((id) => createNotificationBus({ transport, id }))
  if (!busHere || !busThere) throw new Error('Expected two buses.')
  const liveOf = (store: typeof reading, bus: typeof busHere) =>
    createLiveUpdates({
      read: createReadUpdates(store),
      heads: store.updates.heads,
      bus,
      // No poll happens within the test, so that only notifications wake a subscriber.
      pollMs: 3_600_000,
      connectedPollMs: 3_600_000,
    })
  const [here, there] = [liveOf(reading, busHere), liveOf(writing, busThere)]

  const { runningFlow, thread } = createStoreFixture(() => writing)
  const { id: threadId } = await thread()
  const flows = await Promise.all(Array.from({ length: FLOWS }, () => runningFlow({ threadId })))
  let settled = false
  let received = 0
  let waiting = 0
  const isSettled = async () => {
    waiting++
    return settled
  }
  const streams = flows.map(async ({ flowId }) => {
    const seqs: number[] = []
    for await (const { seq } of here.stream(flowId, { afterSeq: 0, isSettled })) {
      seqs.push(seq)
      received++
    }
    return seqs
  })
  await until(() => waiting >= FLOWS)
  // The other process knows the subscriptions as soon as it has a connection of its own.
  const other = there.stream(flows[0]?.flowId ?? '', { afterSeq: 0, isSettled })
  const first = other.next()
  await until(() => flows.every(({ flowId }) => busThere.hasSubscribersElsewhere(`flow:${flowId}`)))
  const before = statements
  for (let round = 1; round <= 5; round++) {
    await Promise.all(
      flows.map(async ({ flowId, epoch }) => {
        const stored = [update(round)]
        await writing.journal.append({ flowId, epoch, updates: stored })
        there.publish(flowId, [{ flowId, seq: round, type: 'step_progress', data: { delta: 'x' }, timestamp: new Date(0) }])
      }),
    )
    await until(() => received >= round * FLOWS)
  }
  const used = statements - before
  if (process.env.REPORT_LATENCY) console.log(`${5 * FLOWS} updates of ${FLOWS} flows: ${used} statements`)
  // One statement reads the updates of 50 flows. A subscriber reads once more before it waits again.
  expect(used).toBeLessThan((5 * FLOWS) / 4)
  await first
  settled = true
  for (const { flowId } of flows) there.ended(flowId)
  here.ended(flows[0]?.flowId ?? '')
  await other.return()
  expect(await Promise.all(streams)).toEqual(flows.map(() => [1, 2, 3, 4, 5]))
})
