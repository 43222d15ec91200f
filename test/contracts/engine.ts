import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { CancellationToken } from '../../src/async/cancellation-token.ts'
import type { Engine, FlowJob } from '../../src/engines/engine.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'

export interface EngineSuite {
  readonly name: string
  /** A fresh engine that no one has given work yet. */
  create(): Engine | Promise<Engine>
}

/** A flow that an engine drives, seen from inside. */
interface Driven {
  readonly job: FlowJob
  readonly stop: CancellationToken
  /** Lets the flow end well. */
  end(): void
}

const CANCELLED = new OrchestratorError('FLOW_CANCELLED', 'enough')

/** The promises of `Engine` (src/engines/engine.ts), whoever drives the flows. */
export function describeEngine({ name, create }: EngineSuite): void {
  describe(`${name} as an engine`, () => {
    let engine: Engine
    let driven: Driven[]
    let onDriven: () => void

    beforeEach(async () => {
      engine = await create()
      driven = []
      onDriven = () => {}
    })
    afterEach(() => engine.close(CANCELLED))

    /** Drives flows that end when told, or a while after they were stopped. */
    const work = () =>
      engine.work(
        (job, stop) =>
          new Promise((resolve) => {
            const underWay = new AbortController()
            const end = () => {
              stop.delete(underWay)
              resolve()
            }
            underWay.signal.addEventListener('abort', () => setImmediate(end))
            driven.push({ job, stop, end })
            stop.add(underWay)
            onDriven()
          }),
      )
    const start = async (flowId: string, epoch = 1): Promise<Driven> => {
      const begun = new Promise<void>((resolve) => {
        onDriven = resolve
      })
      await engine.start({ flowId, epoch })
      await begun
      const flow = driven.at(-1)
      if (!flow) throw new Error(`Expected flow "${flowId}" to be driven.`)
      return flow
    }
    const running = async () => (await engine.health()).running
    const untilRunning = async (count: number) => {
      while ((await running()) !== count) await new Promise(setImmediate)
    }

    test('refuses a flow before a driver is registered', async () => {
      await expect(engine.start({ flowId: 'early', epoch: 1 })).rejects.toMatchObject({ code: 'INTERNAL' })
    })

    test('drives a started flow once, under the epoch of its claim', async () => {
      work()
      await start('flow', 7)
      expect(driven.map(({ job }) => job)).toEqual([{ flowId: 'flow', epoch: 7 }])
    })

    test('start resolves when the flow is accepted, not when it is done', async () => {
      work()
      const { stop } = await start('flow')
      expect(stop.cancelled).toBe(false)
      expect(await running()).toBe(1)
    })

    test('drives several flows at the same time', async () => {
      work()
      await start('one')
      await start('two')
      expect(driven.map(({ job }) => job.flowId)).toEqual(['one', 'two'])
      expect(await running()).toBe(2)
    })

    test('a flow that ended is no longer running', async () => {
      work()
      const flow = await start('flow')
      flow.end()
      await untilRunning(0)
      expect(await engine.cancel('flow', CANCELLED)).toBe(false)
      expect(flow.stop.cancelled).toBe(false)
    })

    test('cancel stops the flow with its reason and resolves true when it has ended', async () => {
      work()
      const { stop } = await start('flow')
      expect(await engine.cancel('flow', CANCELLED)).toBe(true)
      expect(stop.reason).toBe(CANCELLED)
      expect(await running()).toBe(0)
    })

    test('cancelling one flow does not affect the others', async () => {
      work()
      const other = await start('other')
      await start('flow')
      await engine.cancel('flow', CANCELLED)
      expect(other.stop.cancelled).toBe(false)
      expect(await running()).toBe(1)
    })

    test('cancelling a flow that does not run in this process resolves with false', async () => {
      work()
      expect(await engine.cancel('elsewhere', CANCELLED)).toBe(false)
    })

    test('a flow that was cancelled can be started again under its next epoch', async () => {
      work()
      await start('flow', 1)
      await engine.cancel('flow', CANCELLED)
      const { job, stop } = await start('flow', 2)
      expect(job.epoch).toBe(2)
      expect(stop.cancelled).toBe(false)
      expect(await running()).toBe(1)
    })

    test('a flow that is started again while its last run is ending can still be cancelled', async () => {
      work()
      const last = await start('flow', 1)
      const next = await start('flow', 2)
      last.end()
      await new Promise(setImmediate)
      expect(await engine.cancel('flow', CANCELLED)).toBe(true)
      expect(next.stop.cancelled).toBe(true)
    })

    test('close ends every flow with its reason and resolves when none is running', async () => {
      work()
      const flows = [await start('one'), await start('two')]
      await engine.close(CANCELLED)
      expect(flows.map(({ stop }) => stop.reason)).toEqual([CANCELLED, CANCELLED])
      expect(await running()).toBe(0)
    })

    test('a closed engine reports that it is unhealthy and accepts no flow', async () => {
      work()
      expect(await engine.health()).toMatchObject({ running: 0, ok: true })
      await engine.close(CANCELLED)
      expect(await engine.health()).toMatchObject({ running: 0, ok: false })
      await expect(engine.start({ flowId: 'late', epoch: 1 })).rejects.toMatchObject({ code: 'FLOW_INTERRUPTED' })
      expect(driven).toEqual([])
    })

    test('a second close has no further effect', async () => {
      work()
      await start('flow')
      await Promise.all([engine.close(CANCELLED), engine.close(CANCELLED)])
      expect(await running()).toBe(0)
    })

    test('waking a flow that is not paused changes nothing', async () => {
      work()
      const { stop } = await start('flow')
      await engine.signal('flow')
      await engine.signal('elsewhere')
      expect(stop.cancelled).toBe(false)
      expect(driven).toHaveLength(1)
    })
  })
}
