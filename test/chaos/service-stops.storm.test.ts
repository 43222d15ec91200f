import { afterEach, beforeEach, expect, test } from 'vitest'
import { createProcessWorld, nodeProgram, type ProcessWorld, programPath, until } from '../services/process-world.ts'
import { openServiceWorld } from '../services/service-world.ts'
import { casesOf } from '../support/scale.ts'
import { barOf, CONTROLS, endPlainProcesses, percentile, seePlainExit, startIdleThread } from './machine-control.ts'

const TREES = casesOf(50, 3)
const CRASHES = casesOf(10, 2)
const STOP_TIMEOUT_MS = 100
/** The most after the stop timeout: until SIGKILL is sent, and until nothing is left. */
const KILL_MS = 50
const GONE_MS = 300
/** The most until the exit of a leader is seen whose child lives on. */
const EXIT_MS = 100

let world: ProcessWorld
beforeEach(() => {
  world = createProcessWorld()
})
afterEach(() => world.close())

const serviceOf = (id: string, executable: readonly [string, ...string[]]) => ({
  id,
  type: 'agent' as const,
  executable: [...executable] as [string, ...string[]],
  environment: world.environment,
  ready: { logLine: 'ready' },
  restart: { when: 'never' as const },
})

test(`${TREES} trees that ignore SIGTERM are killed at the stop timeout and leave nothing; their neighbour lives`, {
  timeout: 900_000,
}, async () => {
  const sent: { readonly signal: string; readonly atMs: number }[] = []
  const driver = world.openDriver({
    sendSignal(pid, signal) {
      sent.push({ signal, atMs: performance.now() })
      process.kill(pid, signal)
    },
  })
  const { services } = openServiceWorld({ process: driver, settings: { stop: { timeoutMs: STOP_TIMEOUT_MS } } })
  const goneMs: number[] = []
  const controlMs: number[] = []
  const killMs: number[] = []
  const idle = startIdleThread()
  try {
    await services.register(serviceOf('neighbour', [programPath('lasting.sh')]))
    await services.register(serviceOf('tree', [programPath('tree.sh')]))
    const { process: neighbour } = await services.start('neighbour')
    for (let tree = 0; tree < TREES; tree++) {
      const { process: leader } = await services.start('tree')
      // At once, while it grows, or when it has grown.
      const size = 2 + (tree % 3) * 5
      await until('the tree has grown', async () => (await world.processes(leader?.pid)).length >= size)
      sent.length = 0
      const stoppedMs = performance.now()
      expect(await services.stop('tree')).toMatchObject({ state: 'idle', lastExit: { reason: 'stopped' } })
      goneMs.push(performance.now() - stoppedMs - STOP_TIMEOUT_MS)
      expect((await world.processes(leader?.pid)).map(({ pid }) => pid)).toEqual([neighbour?.pid])
      const [asked, killed] = ['SIGTERM', 'SIGKILL'].map((signal) => sent.find((one) => one.signal === signal)?.atMs)
      // Before its children ignore the request, a tree ends by it.
      if (asked !== undefined && killed !== undefined) killMs.push(killed - asked - STOP_TIMEOUT_MS)
      if (tree % 3 === 0) controlMs.push(await endPlainProcesses())
    }
  } finally {
    await services.close()
  }
  const late = await idle.stop()
  const [gone, kill, control] = [goneMs, killMs, controlMs].map((values) => percentile(values, 0.95))
  console.log(
    `after the stop timeout: killed within ${kill?.toFixed(0)} ms (an idle timer is up to ${Math.max(...late).toFixed(0)} ms late), ` +
      `gone within ${gone?.toFixed(0)} ms, median ${percentile(goneMs, 0.5).toFixed(0)} ms (plain processes: ${control?.toFixed(0)} ms)`,
  )
  expect(killMs.length).toBeGreaterThan(TREES / 3)
  // A timer may be a millisecond early.
  expect(Math.min(...killMs)).toBeGreaterThan(-2)
  expect(kill).toBeLessThan(KILL_MS + CONTROLS * Math.max(...late))
  expect(gone).toBeLessThan(barOf(GONE_MS, control ?? 0))
})

test(`the exit of ${CRASHES} leaders is seen although their children hold port and pipe`, { timeout: 300_000 }, async () => {
  const driver = world.openDriver()
  const port = await driver.allocatePort()
  const seenMs: number[] = []
  const controlMs: number[] = []
  for (let crash = 0; crash < CRASHES; crash++) {
    const service = world.serviceOf(nodeProgram('leader-dies.mjs'), { port, environment: { PORT: String(port) } })
    const { run, lines } = await world.start(driver, service)
    const { at, code } = await run.ended
    expect(code).toBe(1)
    seenMs.push(at.getTime() - Number(lines.find((line) => /^\d+$/.test(line))))
    expect(await world.processes()).toEqual([])
    controlMs.push(await seePlainExit())
  }
  const [seen, control] = [percentile(seenMs, 0.95), percentile(controlMs, 0.95)]
  console.log(`the exit was seen within ${seen} ms (that of a plain program: ${control} ms)`)
  expect(seen).toBeLessThan(barOf(EXIT_MS, control))
  driver.releasePort(port)
})
