import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ServiceDriver, ServiceRun } from '../../src/services/service-driver.ts'

export interface ServiceDriverSetup<Start> {
  readonly driver: ServiceDriver<Start>
  /** Runs until it is stopped. */
  readonly service: Start
  /** Another one that runs until it is stopped. */
  readonly neighbour: Start
  /** Its start fails with this code; absent where no start can fail. */
  readonly failing?: { readonly service: Start; readonly code: string }
  /** Does not end when it is asked to; absent where every run ends when it is asked. */
  readonly stubborn?: Start
  /** Ends by itself soon; absent where no run does. */
  readonly ending?: Start
  /** Ends what the cases have left. */
  close(): Promise<void>
}

/** What every driver of services does. Each implementation calls this suite; missing cases name their reason at the call. */
export function describeServiceDriver<Start>(name: string, setUp: () => Promise<ServiceDriverSetup<Start>>): void {
  describe(`the driver of services ${name}`, () => {
    let setup: ServiceDriverSetup<Start>
    let runs: ServiceRun[] = []
    beforeEach(async () => {
      setup = await setUp()
      runs = []
    })
    afterEach(async () => {
      await Promise.all(runs.map((run) => run.kill()))
      await setup.close()
    })
    const start = async (service: Start, signal = new AbortController().signal) => {
      const runId = randomUUID()
      const run = await setup.driver.start(service, { runId, signal })
      runs.push(run)
      return { run, runId }
    }
    const hasEnded = (run: ServiceRun) => Promise.race([run.ended.then(() => true), Promise.resolve(false)])

    test('a started run has the id that it was given and does not end by itself', async () => {
      const { run, runId } = await start(setup.service)
      expect(run).toMatchObject({ runId, adopted: false })
      expect(run.startedAt).toBeInstanceOf(Date)
      expect(await hasEnded(run)).toBe(false)
    })

    test('a run that is asked to stop ends, and both commands do nothing afterwards', async () => {
      const { run } = await start(setup.service)
      await run.requestStop()
      const exit = await run.ended
      expect(exit.at).toBeInstanceOf(Date)
      await run.requestStop()
      await run.kill()
      expect(await run.ended).toBe(exit)
    })

    test('a run is ended by force even if it ignores the request to stop', async () => {
      const { run } = await start(setup.stubborn ?? setup.service)
      if (setup.stubborn) {
        await run.requestStop()
        expect(await hasEnded(run)).toBe(false)
      }
      await run.kill()
      expect((await run.ended).at).toBeInstanceOf(Date)
    })

    test('the end of one run leaves its neighbour alone, and a stopped service starts again', async () => {
      const first = await start(setup.service)
      const second = await start(setup.neighbour)
      await first.run.requestStop()
      await first.run.ended
      expect(await hasEnded(second.run)).toBe(false)
      const again = await start(setup.service)
      expect(again.runId).not.toBe(first.runId)
      expect(await hasEnded(again.run)).toBe(false)
    })

    test('a start whose signal has aborted rejects and leaves nothing', async () => {
      const abort = new AbortController()
      abort.abort(new Error('no longer wanted'))
      await expect(start(setup.service, abort.signal)).rejects.toThrow('no longer wanted')
    })

    test('a start that fails rejects with its code, and the driver starts others', async () => {
      if (setup.failing) await expect(start(setup.failing.service)).rejects.toMatchObject({ code: setup.failing.code })
      const { run } = await start(setup.service)
      expect(await hasEnded(run)).toBe(false)
    })

    test('a run that ends by itself resolves its end', async () => {
      const { run } = await start(setup.ending ?? setup.service)
      if (!setup.ending) await run.requestStop()
      expect((await run.ended).at).toBeInstanceOf(Date)
    })
  })
}
