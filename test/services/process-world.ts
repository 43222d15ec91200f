import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import type { ServiceProcess } from '../../src/domain/services/service-definition.ts'
import { createProcessDriver, type ProcessDriverOptions } from '../../src/services/drivers/process.ts'
import type { ProcessDriver } from '../../src/services/process-driver.ts'
import type { ServiceRun } from '../../src/services/service-driver.ts'
import { createProcessTable } from '../../src/system/process-table.ts'
import { endLeftProcesses } from '../support/left-processes.ts'

/** Every process of a test has this variable in its environment. */
const WORLD = 'POLYPHONY_TEST_WORLD'
const GUARD_MS = 30_000

/** The command of a Node program of the tests. */
export const nodeProgram = (name: string, ...args: string[]): readonly [string, ...string[]] => [
  process.execPath,
  programPath(name),
  ...args,
]

export const programPath = (name: string): string => fileURLToPath(new URL(`./programs/${name}`, import.meta.url))

/** Polls until `find` returns a value. */
export async function until<Value>(
  what: string,
  find: () => Value | undefined | false | Promise<Value | undefined | false>,
): Promise<Value> {
  for (const deadline = performance.now() + GUARD_MS; ; await sleep(10)) {
    const value = await find()
    if (value !== undefined && value !== false) return value
    if (performance.now() > deadline) throw new Error(`gave up waiting until ${what}`)
  }
}

/** A folder with services of one test, and everything that must be gone at its end. */
export function createProcessWorld() {
  const world = randomUUID()
  const dataDir = join(mkdtempSync(join(tmpdir(), 'polyphony-services-')), 'data')
  const drivers: ProcessDriver[] = []
  const table = createProcessTable(WORLD)

  /** Processes of the test; with `group` also those of that group, which may have emptied their environment. */
  const processes = async (group?: number) => {
    const snapshot = await table.read()
    return [...snapshot.values()].filter((entry) => !entry.ended && (entry.marker === world || entry.group === group))
  }
  const environment = { PATH: process.env.PATH ?? '', [WORLD]: world }

  return {
    dataDir,
    /** By which the test finds its processes again. */
    environment,
    processes,
    openDriver(options: Partial<ProcessDriverOptions> = {}): ProcessDriver {
      const driver = createProcessDriver({
        dataDir,
        logs: { maxBytes: 10 * 1_024 * 1_024, keep: 5 },
        memoryHardFactor: 2,
        ...options,
      })
      drivers.push(driver)
      return driver
    },
    serviceOf(command: readonly [string, ...string[]], more: Partial<ServiceProcess> = {}): ServiceProcess {
      return {
        id: 'one',
        cwd: tmpdir(),
        stopSignal: 'SIGTERM',
        killTimeoutMs: 5_000,
        orphans: 'stop',
        limits: {},
        definitionHash: 'hash',
        ...more,
        command,
        environment: { ...environment, ...more.environment },
      }
    },
    /** Starts the service and resolves with the lines that it writes. */
    async start(driver: ProcessDriver, service: ServiceProcess) {
      const lines: string[] = []
      const run = await driver.start(service, {
        runId: randomUUID(),
        signal: new AbortController().signal,
        onLine: (text) => void lines.push(text),
      })
      return { run, lines, ready: () => until(`${service.id} writes a line`, () => lines.length > 0) }
    },
    /** Ends what is left, and fails if that was anything. */
    async close() {
      const left = await until('processes have ended', async () => {
        const found = await processes()
        return found.length === 0 && found
      }).catch(processes)
      if (left.length > 0) await endLeftProcesses(WORLD, world)
      for (const driver of drivers) await driver.close()
      rmSync(join(dataDir, '..'), { recursive: true, force: true })
      expect(left.map(({ pid }) => pid)).toEqual([])
    },
  }
}

/** Follows the log of a service for so many lines. */
export async function readLines(driver: ProcessDriver, id: string, count: number): Promise<readonly string[]> {
  const lines: string[] = []
  for await (const { text } of driver.logs(id, { lines: 10_000_000, follow: true })) {
    lines.push(text)
    if (lines.length === count) break
  }
  return lines
}

export type ProcessWorld = ReturnType<typeof createProcessWorld>

/** Asks the run to stop and ends it by force if it has not ended after `patienceMs`, as a service does. */
export async function stopRun(run: ServiceRun, patienceMs = 300): Promise<void> {
  await run.requestStop()
  const ended = await Promise.race([run.ended.then(() => true), sleep(patienceMs, false)])
  if (!ended) await run.kill()
  await run.ended
}
