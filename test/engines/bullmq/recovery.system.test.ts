import { afterEach, describe, expect, test } from 'vitest'
import { until } from '../../support/flows.ts'
import { openTestRedis } from '../../support/redis.ts'
import { type FleetOptions, openWorkerFleet, type WorkerFleet } from '../../support/worker-fleet.ts'

const SETTINGS = { lockMs: 5_000, stalledMs: 2_000, stepMs: 20 } as const
const report = (what: string, figures: unknown) => {
  if (process.env.REPORT_RECOVERY) console.log(what, JSON.stringify(figures))
}

const redis = await openTestRedis()
const stores: readonly { readonly name: string; readonly redisUrl?: string }[] = [
  { name: 'on Postgres' },
  ...(redis ? [{ name: 'on Redis', redisUrl: redis.url }] : []),
]
if (!redis) console.warn('skipped: the tests on Redis, because no Redis answers')

describe.each(stores)('workers $name', ({ redisUrl }) => {
  let fleet: WorkerFleet | undefined
  const open = async (more: Partial<FleetOptions> = {}) => {
    fleet = await openWorkerFleet({ ...SETTINGS, ...(redisUrl !== undefined && { redisUrl }), ...more })
    return fleet
  }
  afterEach(() => fleet?.close())

  test('another worker continues the flow of a killed one and repeats only the step in flight', async () => {
    const opened = await open()
    opened.hold('s3')
    const first = await opened.startWorker()
    const [flowId = ''] = await opened.createFlows(1, 5)
    await opened.start(flowId)
    await until(() => opened.callsOf(flowId, 's3').length === 1)
    await opened.startWorker()
    const killedMs = Date.now()
    await first.signal('SIGKILL')
    await until(() => opened.callsOf(flowId, 's3').length === 2)
    report('killed to next call', Date.now() - killedMs)
    opened.release()
    expect(await opened.ended(flowId)).toBe('COMPLETED')
    expect(['s1', 's2', 's3', 's4', 's5'].map((step) => opened.callsOf(flowId, step).length)).toEqual([1, 1, 2, 1, 1])
    expect((await opened.results(flowId)).map(({ status }) => status)).toEqual(Array(5).fill('SUCCESS'))
  })

  test('a worker that was frozen longer than its lock writes nothing when it continues', async () => {
    const opened = await open()
    opened.hold('s2')
    const first = await opened.startWorker()
    const [flowId = ''] = await opened.createFlows(1, 4)
    await opened.start(flowId)
    await until(() => opened.callsOf(flowId, 's2').length === 1)
    await opened.startWorker()
    await first.signal('SIGSTOP')
    const frozenMs = Date.now()
    await until(() => opened.callsOf(flowId, 's2').length === 2)
    report('frozen to next call', Date.now() - frozenMs)
    // The answer that the frozen worker waits for is there when it continues.
    opened.release()
    await first.signal('SIGCONT')
    expect(await opened.ended(flowId)).toBe('COMPLETED')
    expect(['s1', 's2', 's3', 's4'].map((step) => opened.callsOf(flowId, step).length)).toEqual([1, 2, 1, 1])
    const results = await opened.results(flowId)
    expect(results.map(({ stepId }) => stepId)).toEqual(['s1', 's2', 's3', 's4'])
    expect((await opened.store.flows.find(flowId))?.ownerEpoch).toBeGreaterThan(1)
  })

  test('on SIGTERM the step in flight is recorded, and another worker continues with the next one', async () => {
    const opened = await open({ graceMs: 5_000 })
    const first = await opened.startWorker()
    opened.hold('s2')
    const [flowId = ''] = await opened.createFlows(1, 5)
    await opened.start(flowId)
    await until(() => opened.callsOf(flowId, 's2').length === 1)
    await opened.startWorker()
    const ended = first.signal('SIGTERM')
    await first.closing()
    const releasedMs = Date.now()
    opened.release()
    await until(() => opened.callsOf(flowId, 's3').length === 1)
    report('answer to next call after SIGTERM', Date.now() - releasedMs)
    await ended
    expect(await opened.ended(flowId)).toBe('COMPLETED')
    expect(['s1', 's2', 's3', 's4', 's5'].map((step) => opened.callsOf(flowId, step).length)).toEqual([1, 1, 1, 1, 1])
    expect((await opened.store.flows.find(flowId))?.ownerEpoch).toBeGreaterThan(1)
  })

  test('on SIGTERM without a grace period another worker continues at once', async () => {
    const opened = await open()
    const first = await opened.startWorker()
    opened.hold('s2')
    const [flowId = ''] = await opened.createFlows(1, 3)
    await opened.start(flowId)
    await until(() => opened.callsOf(flowId, 's2').length === 1)
    await opened.startWorker()
    const endedMs = Date.now()
    const ended = first.signal('SIGTERM')
    await until(() => opened.callsOf(flowId, 's2').length === 2)
    report('SIGTERM to next call', Date.now() - endedMs)
    opened.release()
    await ended
    expect(await opened.ended(flowId)).toBe('COMPLETED')
    expect(['s1', 's2', 's3'].map((step) => opened.callsOf(flowId, step).length)).toEqual([1, 2, 1])
  })

  test('a queue that was emptied by hand costs latency, and no flow and no call', async () => {
    const opened = await open()
    await opened.startWorker()
    opened.hold('s3')
    const [running = ''] = await opened.createFlows(1, 4)
    await opened.start(running)
    await until(() => opened.callsOf(running, 's3').length === 1)
    const queued = await opened.createFlows(3, 2)
    await opened.emptyQueue()
    await Promise.all(queued.map((flowId) => opened.startWithoutSlot(flowId)))
    const emptiedMs = Date.now()
    await Promise.all(queued.map((flowId) => opened.ended(flowId)))
    opened.release()
    for (const flowId of [running, ...queued]) expect(await opened.ended(flowId)).toBe('COMPLETED')
    report('emptied to all ended', Date.now() - emptiedMs)
    expect(opened.callsOf(running)).toHaveLength(4)
    for (const flowId of queued) expect(opened.callsOf(flowId)).toHaveLength(2)
  })
})
