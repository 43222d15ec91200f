import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { CancellationToken } from '../../src/async/cancellation-token.ts'
import type { FlowStart } from '../../src/domain/execution/flow.ts'
import type { Engine, EngineDeps, FlowJob, RunningLimits } from '../../src/engines/engine.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { createRunRegistry } from '../../src/orchestrator/runs/run-registry.ts'
import type { Store } from '../../src/repositories/repository.ts'
import { newClaim, outcome } from '../support/stored-data.ts'
import { createStoreFixture } from './store-fixture.ts'

export interface OpenedEngines {
  readonly store: Store
  /** A fresh engine over the store, as one process has it; its `work` has not been called yet. */
  create(deps: EngineDeps): Engine | Promise<Engine>
  /** Releases the store and everything else that the engines share. */
  close(): Promise<void>
}

export interface EngineSuite {
  readonly name: string
  readonly open: () => Promise<OpenedEngines>
}

/** A flow that an engine drives, seen from inside. */
interface Driven {
  readonly job: FlowJob
  readonly stop: CancellationToken
  /** Lets the flow end well. */
  end(): void
}

/** One process: an engine with the flows that it has driven, the newest last. */
interface Process {
  readonly engine: Engine
  readonly driven: Driven[]
  readonly ownerId: string
}

const CANCELLED = new OrchestratorError('FLOW_CANCELLED', 'enough')
const INTERRUPTED = new OrchestratorError('FLOW_INTERRUPTED', 'another process continues')

/** The promises of `Engine` (src/engines/engine.ts), whoever drives the flows. */
export function describeEngine({ name, open }: EngineSuite): void {
  describe(`${name} as an engine`, () => {
    let opened: OpenedEngines
    let store: Store
    let engine: Engine
    let driven: Driven[]
    let processes: Process[]
    let onDriven = () => {}

    beforeAll(async () => {
      opened = await open()
      store = opened.store
    })
    afterAll(() => opened?.close())
    beforeEach(async () => {
      processes = []
      const first = await openProcess()
      engine = first.engine
      driven = first.driven
    })
    afterEach(async () => {
      await Promise.all(processes.map((opened) => opened.engine.close(CANCELLED)))
    })

    const { pendingFlow } = createStoreFixture(() => store)

    async function openProcess(
      registered: readonly string[] = [],
      limits: RunningLimits = {},
      takesFlows = true,
    ): Promise<Process> {
      const ownerId = randomUUID()
      await store.owners.heartbeat({ id: ownerId, host: 'host-1', pid: 4711 })
      const created = await opened.create({
        runs: createRunRegistry(),
        flows: { claim: store.journal.claim, enqueue: store.journal.enqueue, ...store.queue },
        ownerId,
        registered: () => registered,
        limits,
        takesFlows,
        now: () => new Date(),
      })
      const process = { engine: created, driven: [], ownerId }
      processes.push(process)
      return process
    }

    /** Drives flows that end when told, or a while after they were stopped, and stores how they ended. */
    const work = (process: Process = first()) =>
      process.engine.work(
        (job, stop) =>
          new Promise<void>((resolve) => {
            const underWay = new AbortController()
            const settle = async (status: 'COMPLETED' | 'CANCELLED') => {
              stop.delete(underWay)
              const isLost = OrchestratorError.is(stop.reason) && stop.reason.code === 'FLOW_INTERRUPTED'
              if (!isLost) await store.journal.finish({ ...job, outcome: outcome({ status }) }).catch(() => {})
              resolve()
            }
            underWay.signal.addEventListener('abort', () => setImmediate(() => void settle('CANCELLED')))
            process.driven.push({ job, stop, end: () => void settle('COMPLETED') })
            stop.add(underWay)
            onDriven()
          }),
      )
    const first = (): Process => {
      const [process] = processes
      if (!process) throw new Error('Expected a process.')
      return process
    }
    const toStart = (flowId: string, overrides: Partial<FlowStart> = {}): FlowStart => {
      const { ownerId: _, ...start } = newClaim(flowId, { runOptions: {} })
      return { ...start, ...overrides }
    }
    /** Resolves with the run of the flow in any process, as soon as it is driven more often than `times`. */
    const untilDriven = async (flowId: string, times = 0): Promise<Driven> => {
      for (;;) {
        const begun = new Promise<void>((resolve) => {
          onDriven = resolve
        })
        const found = processes.flatMap((process) => process.driven).filter(({ job }) => job.flowId === flowId)
        const newest = found.sort((a, b) => a.job.epoch - b.job.epoch).at(-1)
        if (newest && found.length > times) return newest
        await begun
      }
    }
    const start = async (flowId?: string): Promise<Driven> => {
      const id = flowId ?? (await pendingFlow()).id
      const times = driven.filter(({ job }) => job.flowId === id).length
      await engine.start(toStart(id))
      return untilDriven(id, times)
    }
    /** The first process takes flows from the queue. */
    const begin = async () => {
      work()
      await engine.takeQueued()
    }
    const running = async () => (await engine.health()).running
    const untilRunning = async (count: number) => {
      while ((await running()) !== count) await new Promise(setImmediate)
    }

    test('refuses a flow before a driver is registered', async () => {
      await expect(engine.start(toStart(randomUUID()))).rejects.toMatchObject({ code: 'INTERNAL' })
    })

    test('drives a started flow once, under the epoch of its claim', async () => {
      await begin()
      const { job } = await start()
      expect(driven.map((flow) => flow.job)).toEqual([job])
      expect(await store.flows.find(job.flowId)).toMatchObject({ status: 'RUNNING', ownerEpoch: job.epoch })
      expect((await store.flows.find(job.flowId))?.ownerId).toBe(first().ownerId)
    })

    test('a flow that runs, is completed or does not exist is refused with the reason', async () => {
      await begin()
      const flow = await start()
      await expect(engine.start(toStart(flow.job.flowId))).rejects.toMatchObject({ code: 'FLOW_ALREADY_RUNNING' })
      flow.end()
      await untilRunning(0)
      await expect(engine.start(toStart(flow.job.flowId))).rejects.toMatchObject({ code: 'FLOW_ALREADY_COMPLETED' })
      await expect(engine.start(toStart(randomUUID()))).rejects.toMatchObject({ code: 'FLOW_NOT_FOUND' })
      expect(driven).toHaveLength(1)
    })

    test('start resolves when the flow is accepted, not when it is done', async () => {
      await begin()
      const { stop } = await start()
      expect(stop.cancelled).toBe(false)
      expect(await running()).toBe(1)
    })

    test('drives several flows at the same time', async () => {
      await begin()
      const flows = [await start(), await start()]
      expect(driven).toEqual(flows)
      expect(await running()).toBe(2)
    })

    test('a flow that ended is no longer running', async () => {
      await begin()
      const flow = await start()
      flow.end()
      await untilRunning(0)
      expect(await engine.cancel(flow.job.flowId, CANCELLED)).toBe(false)
      expect(flow.stop.cancelled).toBe(false)
    })

    test('cancel stops the flow with its reason and resolves true when it has ended', async () => {
      await begin()
      const { job, stop } = await start()
      expect(await engine.cancel(job.flowId, CANCELLED)).toBe(true)
      expect(stop.reason).toBe(CANCELLED)
      expect(await running()).toBe(0)
      expect((await store.flows.find(job.flowId))?.status).toBe('CANCELLED')
    })

    test('cancelling one flow does not affect the others', async () => {
      await begin()
      const other = await start()
      const { job } = await start()
      await engine.cancel(job.flowId, CANCELLED)
      expect(other.stop.cancelled).toBe(false)
      expect(await running()).toBe(1)
    })

    test('cancelling a flow that does not run in this process resolves with false', async () => {
      await begin()
      expect(await engine.cancel(randomUUID(), CANCELLED)).toBe(false)
    })

    test('a flow that was cancelled can be started again under its next epoch', async () => {
      await begin()
      const { job } = await start()
      await engine.cancel(job.flowId, CANCELLED)
      const next = await start(job.flowId)
      expect(next.job.epoch).toBe(job.epoch + 1)
      expect(next.stop.cancelled).toBe(false)
      expect(await running()).toBe(1)
    })

    test('a flow that is started again while its last run is ending can still be cancelled', async () => {
      await begin()
      const last = await start()
      const { flowId } = last.job
      const taken = await store.journal.claim(newClaim(flowId, { from: ['RUNNING'] }))
      if (!('epoch' in taken)) throw new Error('Expected another process to take the flow.')
      await store.journal.finish({ flowId, epoch: taken.epoch, outcome: outcome({ status: 'CANCELLED' }) })
      const next = await start(flowId)
      last.end()
      await new Promise(setImmediate)
      expect(await engine.cancel(flowId, CANCELLED)).toBe(true)
      expect(next.stop.cancelled).toBe(true)
    })

    test('a flow that was queued by a process that runs none is driven once by one that takes flows', async () => {
      const { id } = await pendingFlow()
      expect(await store.journal.enqueue(toStart(id))).toEqual({ epoch: 0 })
      await begin()
      const second = await openProcess()
      work(second)
      await second.engine.takeQueued()
      const { job } = await untilDriven(id)
      expect(job.epoch).toBe(1)
      expect([...driven, ...second.driven]).toHaveLength(1)
    })

    test('a process that takes no flows queues what it starts or wakes, and leaves the running to others', async () => {
      const starter = await openProcess([], {}, false)
      work(starter)
      await starter.engine.takeQueued()
      const { id } = await pendingFlow()
      const paused = await pendingFlow()
      const taken = await store.journal.claim(newClaim(paused.id, { runOptions: {} }))
      if (!('epoch' in taken)) throw new Error('Expected to claim the flow.')
      await store.journal.finish({ flowId: paused.id, epoch: taken.epoch, outcome: outcome({ status: 'PAUSED' }) })
      expect(await starter.engine.start(toStart(id))).toBe('queued')
      await starter.engine.signal(paused.id)
      starter.engine.recheckQueue()
      expect(await starter.engine.cancel(id, CANCELLED)).toBe(false)
      expect((await store.queue.queuedAt(id)) && (await store.queue.queuedAt(paused.id))).toBeInstanceOf(Date)
      await begin()
      await untilDriven(id)
      await untilDriven(paused.id)
      expect(starter.driven).toEqual([])
      expect(driven).toHaveLength(2)
    })

    test('a process leaves a flow alone whose definition it has not registered', async () => {
      const requires = `flow-${randomUUID()}@1`
      const { id } = await pendingFlow()
      await store.journal.enqueue(toStart(id, { requires }))
      await begin()
      await start()
      const second = await openProcess([requires])
      work(second)
      await second.engine.takeQueued()
      await untilDriven(id)
      expect(driven.map(({ job }) => job.flowId)).not.toContain(id)
      expect(second.driven.map(({ job }) => job.flowId)).toContain(id)
    })

    test('a process that hands over puts its flows back for others under their next epoch', async () => {
      const limited = await openProcess([], { perProcess: 100 })
      work(limited)
      await limited.engine.takeQueued()
      const { id } = await pendingFlow()
      await limited.engine.start(toStart(id))
      const { job, stop } = await untilDriven(id)
      await limited.engine.close(INTERRUPTED, { handOver: true })
      expect(stop.reason).toBe(INTERRUPTED)
      const second = await openProcess()
      work(second)
      await second.engine.takeQueued()
      const next = await untilDriven(job.flowId, 1)
      expect(next.job.epoch).toBeGreaterThan(job.epoch)
      expect(second.driven).toEqual([next])
      expect((await store.flows.find(job.flowId))?.status).toBe('RUNNING')
    })

    test('a flow that is started after others have ended is handed over as well', async () => {
      const limited = await openProcess([], { perProcess: 100 })
      work(limited)
      await limited.engine.takeQueued()
      const flowIds: string[] = []
      for (let started = 0; started < 3; started++) {
        const { id } = await pendingFlow()
        flowIds.push(id)
        await limited.engine.start(toStart(id))
        const flow = await untilDriven(id)
        if (started === 0) flow.end()
        if (started === 1) expect(await limited.engine.cancel(id, CANCELLED)).toBe(true)
        if (started < 2) while ((await limited.engine.health()).running > 0) await new Promise(setImmediate)
      }
      const [completed = '', cancelled = '', handedOver = ''] = flowIds
      await limited.engine.close(INTERRUPTED, { handOver: true })
      const second = await openProcess()
      work(second)
      await second.engine.takeQueued()
      const next = await untilDriven(handedOver, 1)
      expect(second.driven).toEqual([next])
      expect(next.job.epoch).toBeGreaterThan(1)
      expect((await store.flows.find(completed))?.status).toBe('COMPLETED')
      expect((await store.flows.find(cancelled))?.status).toBe('CANCELLED')
    })

    test('close ends every flow with its reason and resolves when none is running', async () => {
      await begin()
      const flows = [await start(), await start()]
      await engine.close(CANCELLED)
      expect(flows.map(({ stop }) => stop.reason)).toEqual([CANCELLED, CANCELLED])
      expect(await running()).toBe(0)
    })

    test('a closed engine reports that it is unhealthy and accepts no flow', async () => {
      await begin()
      expect(await engine.health()).toMatchObject({ running: 0, ok: true })
      await engine.close(CANCELLED)
      expect(await engine.health()).toMatchObject({ running: 0, ok: false })
      const { id } = await pendingFlow()
      await expect(engine.start(toStart(id))).rejects.toMatchObject({ code: 'FLOW_INTERRUPTED' })
      expect((await store.flows.find(id))?.status).toBe('PENDING')
      expect(driven).toEqual([])
    })

    test('a second close has no further effect', async () => {
      await begin()
      await start()
      await Promise.all([engine.close(CANCELLED), engine.close(CANCELLED)])
      expect(await running()).toBe(0)
    })

    test('waking a flow that is not paused changes nothing', async () => {
      await begin()
      const { job, stop } = await start()
      await engine.signal(job.flowId)
      await engine.signal(randomUUID())
      expect(stop.cancelled).toBe(false)
      expect(driven).toHaveLength(1)
    })

    test('a paused flow is driven again under its next epoch when it is woken', async () => {
      await begin()
      const { id } = await pendingFlow()
      const taken = await store.journal.claim(newClaim(id, { runOptions: {} }))
      if (!('epoch' in taken)) throw new Error('Expected to claim the flow.')
      await store.journal.finish({ flowId: id, epoch: taken.epoch, outcome: outcome({ status: 'PAUSED' }) })
      await engine.signal(id)
      const { job } = await untilDriven(id)
      expect(job.epoch).toBe(taken.epoch + 1)
    })
  })
}
