import { once } from 'node:events'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createProcessWorld, type ProcessWorld, programPath, stopRun, until } from '../services/process-world.ts'
import { casesOf } from '../support/scale.ts'

const FLOOD_BYTES = Number(process.env.CHAOS_LOG_BYTES ?? casesOf(1_024 ** 3, 64 * 1_024 ** 2))
const LINE_BYTES = casesOf(100_000_000, 10_000_000)
const MAX_BYTES = 10 * 1_024 * 1_024
const SERVICES = casesOf(100, 20)
const LONGEST_STALL_MS = 50
const LARGEST_GROWTH_MIB = 30

let world: ProcessWorld
beforeEach(() => {
  world = createProcessWorld()
})
afterEach(() => world.close())

const node = (program: string, ...args: string[]): readonly [string, ...string[]] => [
  process.execPath,
  programPath(program),
  ...args,
]

/** An idle event loop in a thread of its own: its delay is what the machine does to every one. */
function startControl() {
  const worker = new Worker(
    `const { monitorEventLoopDelay } = require('node:perf_hooks')
    const { parentPort } = require('node:worker_threads')
    const delay = monitorEventLoopDelay({ resolution: 10 })
    delay.enable()
    parentPort.once('message', () => parentPort.postMessage(delay.percentile(99) / 1e6))`,
    { eval: true },
  )
  return {
    async stop(): Promise<number> {
      worker.postMessage('stop')
      const [delayMs] = await once(worker, 'message')
      await worker.terminate()
      return Number(delayMs)
    },
  }
}

test(`${FLOOD_BYTES} bytes of log at once stop neither the event loop nor nine other services, and stay in bounds`, {
  timeout: 300_000,
}, async () => {
  const driver = world.openDriver()
  const others = await Promise.all(
    Array.from({ length: 9 }, (_, index) =>
      world.start(driver, world.serviceOf(node('numbers.mjs', '20'), { id: `other-${index}` })),
    ),
  )
  await Promise.all(others.map(({ ready }) => ready()))
  const delay = monitorEventLoopDelay({ resolution: 10 })
  const control = startControl()
  const memoryBefore = process.memoryUsage.rss()
  let peak = memoryBefore
  const sampling = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage.rss())
  }, 20)
  const startedMs = performance.now()
  delay.enable()
  const flood = await driver.start(world.serviceOf(node('flood.mjs', String(FLOOD_BYTES))), {
    runId: crypto.randomUUID(),
    signal: new AbortController().signal,
  })
  expect(await flood.ended).toMatchObject({ code: 0 })
  delay.disable()
  clearInterval(sampling)
  const stallMs = delay.percentile(99) / 1e6
  const controlMs = await control.stop()
  const growth = (peak - memoryBefore) / 1_024 ** 2
  console.log(
    `${((performance.now() - startedMs) / 1_000).toFixed(1)} s, stall p99 ${stallMs.toFixed(0)} ms (an idle thread: ${controlMs.toFixed(0)} ms), at most ${(delay.max / 1e6).toFixed(0)} ms, ` +
      `memory +${growth.toFixed(0)} MiB`,
  )
  const logs = join(world.dataDir, 'logs')
  const files = readdirSync(logs).filter((name) => name.startsWith('one.log'))
  expect(files.reduce((sum, name) => sum + statSync(join(logs, name)).size, 0)).toBeLessThanOrEqual(6 * MAX_BYTES + 65_536)
  const last: string[] = []
  for await (const { text } of driver.logs('one', { lines: 1 })) last.push(text)
  expect(last).toEqual(['the last line'])
  // 20 ms on a quiet machine. On a busy one an idle thread waits for the processor too, and that is not our stall.
  expect(stallMs).toBeLessThan(LONGEST_STALL_MS + controlMs)
  expect(growth).toBeLessThan(LARGEST_GROWTH_MIB)
  const counts = others.map(({ lines }) => lines.length)
  await until('the others write on', () => others.every(({ lines }, index) => lines.length > (counts[index] ?? 0)))
  await Promise.all(others.map(({ run }) => stopRun(run, 10_000)))
})

test(`a line of ${LINE_BYTES} bytes is shown cut, in little memory`, { timeout: 120_000 }, async () => {
  const driver = world.openDriver({ logs: { maxBytes: 200_000_000, keep: 1 } })
  const { run } = await world.start(driver, world.serviceOf(node('hostile-output.mjs', String(LINE_BYTES))))
  await run.ended
  const lengths: number[] = []
  for await (const { text } of driver.logs('one')) lengths.push(text.length)
  expect(lengths).toEqual([65_536, 3, 4, 12])
  expect(statSync(join(world.dataDir, 'logs', 'one.log')).size).toBeGreaterThan(LINE_BYTES)
})

test(`${SERVICES} services start, are sampled in one reading of the process table, and stop`, { timeout: 120_000 }, async () => {
  const driver = world.openDriver()
  const startedMs = performance.now()
  const started = await Promise.all(
    Array.from({ length: SERVICES }, (_, index) =>
      world.start(driver, world.serviceOf([programPath('lasting.sh')], { id: `s${index}` })),
    ),
  )
  await Promise.all(started.map(({ ready }) => ready()))
  const upMs = performance.now()
  const cpuBefore = process.cpuUsage()
  const usages = await Promise.all(started.map(({ run }) => run.usage?.()))
  const cpu = process.cpuUsage(cpuBefore)
  expect(usages.every((usage) => usage?.processes === 1)).toBe(true)
  const stopMs = performance.now()
  await Promise.all(started.map(({ run }) => stopRun(run, 30_000)))
  console.log(
    `up after ${(upMs - startedMs).toFixed(0)} ms, sampled with ${((cpu.user + cpu.system) / 1_000).toFixed(0)} ms of processor time, ` +
      `down after ${(performance.now() - stopMs).toFixed(0)} ms`,
  )
})
