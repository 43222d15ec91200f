import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import type { ServiceExit } from '../../src/domain/services/service-state.ts'
import { createProcessDriver } from '../../src/services/drivers/process.ts'
import type { LeftRun, ProcessDriver } from '../../src/services/process-driver.ts'
import { createGate, openServiceWorld } from './service-world.ts'

const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

/** A driver that finds a run of each of these services, once the gate is open, and starts nothing. */
function driverWithLeft(...ids: readonly string[]) {
  const gate = createGate()
  const alive = new Set(ids)
  const found = new Set<string>()
  const adopted = (id: string): LeftRun => {
    found.add(id)
    let exit = (_exit: ServiceExit) => {}
    const ended = new Promise<ServiceExit>((resolve) => {
      exit = resolve
    })
    const stop = async () => {
      alive.delete(id)
      exit({ at: new Date() })
    }
    const run = { runId: randomUUID(), startedAt: new Date(), adopted: true, ended, requestStop: stop, kill: stop }
    return { id, outcome: 'adopted', run }
  }
  const driver: ProcessDriver = {
    kind: 'process',
    start: () => Promise.reject(new Error('expected no start')),
    supervise: async () => undefined,
    async adopt(_findTerms, only) {
      await gate.opened
      return ids.filter((id) => !found.has(id) && (only === undefined || id === only)).map(adopted)
    },
    findLiving: async () => ids.filter((id) => !found.has(id)).map((id) => ({ id, pids: [2] })),
    async *logs() {},
    allocatePort: async () => 1,
    releasePort: () => undefined,
    close: async () => undefined,
  }
  return { driver, gate, alive }
}
const program = (id: string) => ({
  id,
  type: 'agent' as const,
  executable: ['/bin/true'],
  orphans: 'adopt' as const,
  minUptimeMs: 0,
})

test('a stop while a run of an earlier supervisor is being looked up ends that run as well', async () => {
  const { driver, gate, alive } = driverWithLeft('a')
  const { services } = openServiceWorld({ process: driver })
  await services.register(program('a'))
  const started = services.start('a').catch((error: unknown) => error)
  const stopped = services.stop('a')
  gate.open()
  expect(await started).toMatchObject({ code: 'SERVICE_NOT_RUNNING' })
  expect(await stopped).toMatchObject({ state: 'idle' })
  expect([...alive]).toEqual([])
  await services.close()
})

test('a start after such a stop is the last command: the run continues', async () => {
  const { driver, gate, alive } = driverWithLeft('a')
  const { services } = openServiceWorld({ process: driver })
  await services.register(program('a'))
  const first = services.start('a').catch((error: unknown) => error)
  const stopped = services.stop('a')
  const second = services.start('a')
  gate.open()
  await Promise.all([first, stopped])
  expect(await second).toMatchObject({ state: 'running', adopted: true })
  expect([...alive]).toEqual(['a'])
  await services.close()
  expect([...alive]).toEqual([])
})

test('a service that is stopped while the supervisor takes over its run is not started by that', async () => {
  const { driver, gate, alive } = driverWithLeft('a', 'b')
  const { services, states } = openServiceWorld({ process: driver })
  gate.open()
  await services.register(program('a'))
  await services.start('a')
  await services.register(program('b'))
  expect(await services.stop('b')).toMatchObject({ state: 'idle' })
  expect([...alive]).toEqual(['a'])
  expect(states('b')).not.toContain('running')
  await services.close()
})

test('a close while the runs of all services are being looked up ends them', async () => {
  const { driver, gate, alive } = driverWithLeft('a', 'b')
  const { services } = openServiceWorld({ process: driver })
  for (const id of ['a', 'b']) await services.register({ ...program(id), start: 'manual' })
  const all = services.startAll().catch((error: unknown) => error)
  // The files are read first.
  await new Promise((resolve) => setImmediate(resolve))
  const closed = services.close()
  gate.open()
  await Promise.all([all, closed])
  expect([...alive]).toEqual([])
})

test('a driver that is closed while it becomes the supervisor leaves no listener at the process', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'polyphony-listeners-'))
  folders.push(dataDir)
  const before = process.listenerCount('exit')
  const driver = createProcessDriver({ dataDir, logs: { maxBytes: 1_000, keep: 1 }, memoryHardFactor: 2 })
  const adopting = driver.adopt(() => undefined)
  await driver.close()
  expect(await adopting).toEqual([])
  expect(process.listenerCount('exit')).toBe(before)
})
