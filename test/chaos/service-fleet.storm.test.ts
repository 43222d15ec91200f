import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { servicesSettingsSchema } from '../../src/config/services/services-settings.ts'
import { createProcessTable } from '../../src/system/process-table.ts'
import { createProcessWorld, nodeProgram, type ProcessWorld, programPath } from '../services/process-world.ts'
import { openServiceWorld } from '../services/service-world.ts'
import { casesOf } from '../support/scale.ts'
import { barOf } from './machine-control.ts'

const SERVICES = casesOf(100, 20)
const CHAIN = 10
const IDLE_SECONDS = casesOf(6, 2)
const UP_MS = 15_000
const DOWN_MS = 3_000
/** Percent of one core while nothing happens. */
const IDLE_PERCENT = 3
const MEMORY_MIB = 60
const READS = 10

let world: ProcessWorld
beforeEach(() => {
  world = createProcessWorld()
})
afterEach(() => world.close())

/** Milliseconds in which plain processes start, each with the `mkfifo` of its pipe, four at a time, and end. */
async function runPlainProcesses(): Promise<{ readonly upMs: number; readonly downMs: number }> {
  const sinceMs = performance.now()
  const children = []
  for (let index = 0; index < SERVICES; index += 4) {
    const started = Array.from({ length: 4 }, async () => {
      await once(spawn('true', { stdio: 'ignore' }), 'exit')
      const child = spawn(programPath('lasting.sh'), { stdio: ['ignore', 'pipe', 'ignore'] })
      await once(child.stdout, 'data')
      return child
    })
    children.push(...(await Promise.all(started)))
  }
  const upMs = performance.now()
  const exits = children.map((child) => once(child, 'exit'))
  for (const child of children) child.kill()
  await Promise.all(exits)
  return { upMs: upMs - sinceMs, downMs: performance.now() - upMs }
}

/** Milliseconds of processor time for one reading of the process table, as the supervisor reads it again and again. */
async function measureTableRead(): Promise<number> {
  const table = createProcessTable('NONE')
  await table.read()
  const before = process.cpuUsage()
  for (let read = 0; read < READS; read++) await table.recent(-1)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1_000 / READS
}

test(`${SERVICES} services, a chain of ten and a fan, start in time, cost little while they run, and stop`, {
  timeout: 300_000,
}, async () => {
  // The programs of the test are small; one server answers for the health of all.
  const driver = world.openDriver()
  const port = await driver.allocatePort()
  const [node, ...script] = nodeProgram('listener.mjs')
  const health = spawn(node, script, { env: { ...world.environment, PORT: String(port) }, stdio: ['ignore', 'pipe', 'inherit'] })
  await once(health.stdout, 'data')
  const settings = servicesSettingsSchema.parse({})
  const control = await runPlainProcesses()
  const { services, events } = openServiceWorld({ process: driver, settings })
  let starting = 0
  let mostStarting = 0
  services.onEvent(({ type }) => {
    if (type !== 'service_state') return
    starting = services.list({ state: 'starting' }).length
    mostStarting = Math.max(mostStarting, starting)
  })
  const memoryBefore = process.memoryUsage.rss()
  const sinceMs = performance.now()
  for (let index = 0; index < SERVICES; index++) {
    await services.register({
      id: `s${index}`,
      type: 'agent',
      executable: [programPath('lasting.sh')],
      environment: world.environment,
      port: 'auto',
      start: 'auto',
      health: { url: `http://127.0.0.1:${port}/health` },
      dependsOn: index === 0 ? [] : [index < CHAIN ? `s${index - 1}` : 's0'],
    })
  }
  try {
    await services.startAll()
    expect(services.list({ state: 'running' })).toHaveLength(SERVICES)
    const upMs = performance.now() - sinceMs
    expect(mostStarting).toBeGreaterThan(0)
    expect(mostStarting).toBeLessThanOrEqual(settings.startConcurrency)
    const cpuBefore = process.cpuUsage()
    const idleMs = performance.now()
    await sleep(IDLE_SECONDS * 1_000)
    const { user, system } = process.cpuUsage(cpuBefore)
    const idlePercent = ((user + system) / 1_000 / (performance.now() - idleMs)) * 100
    const growth = (process.memoryUsage.rss() - memoryBefore) / 1_024 ** 2
    expect(services.list().every(({ process: used }) => used?.processes === 1)).toBe(true)
    const stopMs = performance.now()
    await services.close()
    const downMs = performance.now() - stopMs
    const readPercent = (await measureTableRead()) / (settings.sampleEveryMs / 100)
    console.log(
      `up after ${upMs.toFixed(0)} ms, down after ${downMs.toFixed(0)} ms (plain processes: ${control.upMs.toFixed(0)} and ${control.downMs.toFixed(0)} ms), ` +
        `idle with ${idlePercent.toFixed(1)} % of a core (the process table alone: ${readPercent.toFixed(1)} %), memory +${growth.toFixed(0)} MiB`,
    )
    expect(upMs).toBeLessThan(barOf(UP_MS, control.upMs))
    expect(downMs).toBeLessThan(barOf(DOWN_MS, (control.upMs + control.downMs) / 10))
    expect(idlePercent).toBeLessThan(barOf(IDLE_PERCENT, readPercent))
    expect(growth).toBeLessThan(MEMORY_MIB)
    expect(events.filter(({ type }) => type === 'service_failed')).toEqual([])
  } finally {
    await services.close()
    health.kill()
  }
})
