import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createProcessWorld, nodeProgram, type ProcessWorld, until } from '../services/process-world.ts'
import { openServiceWorld } from '../services/service-world.ts'
import { casesOf } from '../support/scale.ts'
import { percentile, startIdleThread } from './machine-control.ts'

const FLOOD_BYTES = Number(process.env.CHAOS_LOG_BYTES ?? casesOf(1_024 ** 3, 64 * 1_024 ** 2))
const LINE_BYTES = casesOf(100_000_000, 10_000_000)
const MAX_BYTES = 10 * 1_024 * 1_024
const LONGEST_STALL_MS = 50
const LARGEST_GROWTH_MIB = 30
const OTHERS = 9
const PROBE_MS = 100

let world: ProcessWorld
beforeEach(() => {
  world = createProcessWorld()
})
afterEach(() => world.close())

test(`${FLOOD_BYTES} bytes of log at once stop neither the event loop nor nine other services, and stay in bounds`, {
  timeout: 300_000,
}, async () => {
  const driver = world.openDriver()
  const probes = { good: 0, failed: 0 }
  const { services, states } = openServiceWorld({
    process: driver,
    settings: { health: { intervalMs: PROBE_MS, startIntervalMs: 20 } },
    // A probe that is asked before its service listens is part of the start.
    onProbe: (ok) => void probes[ok ? 'good' : 'failed']++,
  })
  const others = Array.from({ length: OTHERS }, (_, index) => `other-${index}`)
  for (const id of others) {
    await services.register({
      id,
      type: 'agent',
      executable: [...nodeProgram('listener.mjs')] as [string, ...string[]],
      environment: world.environment,
      port: 'auto',
      health: { url: 'http://127.0.0.1:{{port}}/' },
    })
  }
  await Promise.all(others.map((id) => services.start(id)))
  Object.assign(probes, { good: 0, failed: 0 })
  const delay = monitorEventLoopDelay({ resolution: 10 })
  const control = startIdleThread()
  const memoryBefore = process.memoryUsage.rss()
  let peak = memoryBefore
  const sampling = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage.rss())
  }, 20)
  const startedMs = performance.now()
  delay.enable()
  const flood = await driver.start(world.serviceOf(nodeProgram('flood.mjs', String(FLOOD_BYTES))), {
    runId: crypto.randomUUID(),
    signal: new AbortController().signal,
  })
  expect(await flood.ended).toMatchObject({ code: 0 })
  delay.disable()
  clearInterval(sampling)
  const stallMs = delay.percentile(99) / 1e6
  const controlMs = percentile(await control.stop(), 0.99)
  const during = { ...probes }
  const growth = (peak - memoryBefore) / 1_024 ** 2
  console.log(
    `${((performance.now() - startedMs) / 1_000).toFixed(1)} s, stall p99 ${stallMs.toFixed(0)} ms (an idle thread: ${controlMs.toFixed(0)} ms), at most ${(delay.max / 1e6).toFixed(0)} ms, ` +
      `memory +${growth.toFixed(0)} MiB, ${during.good} good probes of the others, ${during.failed} failed`,
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
  expect(during.failed).toBe(0)
  expect(during.good).toBeGreaterThan(OTHERS)
  await until('all others were asked again', () => probes.good >= during.good + 2 * OTHERS)
  expect(probes.failed).toBe(0)
  for (const id of others) expect(states(id)).toEqual(['waiting', 'starting', 'running'])
  await services.close()
})

test(`a line of ${LINE_BYTES} bytes is shown cut, in little memory`, { timeout: 300_000 }, async () => {
  const driver = world.openDriver({ logs: { maxBytes: 200_000_000, keep: 1 } })
  const { run } = await world.start(driver, world.serviceOf(nodeProgram('hostile-output.mjs', String(LINE_BYTES))))
  await run.ended
  const lengths: number[] = []
  for await (const { text } of driver.logs('one')) lengths.push(text.length)
  expect(lengths).toEqual([65_536, 3, 4, 12])
  expect(statSync(join(world.dataDir, 'logs', 'one.log')).size).toBeGreaterThan(LINE_BYTES)
})
