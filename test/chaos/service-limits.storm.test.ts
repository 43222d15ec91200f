import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createProcessTable } from '../../src/system/process-table.ts'
import { createProcessWorld, nodeProgram, type ProcessWorld } from '../services/process-world.ts'
import { openServiceWorld } from '../services/service-world.ts'
import { casesOf } from '../support/scale.ts'
import { percentile } from './machine-control.ts'

const LIMIT_MIB = 256
const HIGHEST_PART = 2.2
const ROUNDS = casesOf(12, 4)
const ROUND_MS = 400
const SLOWER = 2

let world: ProcessWorld
beforeEach(() => {
  world = createProcessWorld()
})
afterEach(() => world.close())

const leaks = [
  ['one process', []],
  ['four processes', ['4']],
] as const

for (const [name, args] of leaks) {
  test(`a leak of 100 MB per 100 ms in ${name} is ended before it has ${HIGHEST_PART} times its limit`, async () => {
    const { services, untilState } = openServiceWorld({
      process: world.openDriver(),
      // Everything else as it is by default.
      settings: { restart: { when: 'never' } },
    })
    const table = createProcessTable('NONE')
    let highestMib = 0
    let isOver = false
    try {
      await services.register({
        id: 'leak',
        type: 'agent',
        executable: [...nodeProgram('leak.mjs', ...args)] as [string, ...string[]],
        environment: world.environment,
        ready: { logLine: 'ready' },
        limits: { memory: `${LIMIT_MIB}MB` },
      })
      const { process: leader } = await services.start('leak')
      expect(leader?.limits.memory).toBe('rlimit+sampled')
      const ended = untilState('leak', 'failed').then(() => {
        isOver = true
      })
      while (!isOver) {
        const tree = [...(await table.read()).values()].filter(({ group }) => group === leader?.pid)
        highestMib = Math.max(highestMib, tree.reduce((sum, { residentBytes }) => sum + residentBytes, 0) / 1_024 ** 2)
        await sleep(10)
      }
      await ended
      expect(services.get('leak')).toMatchObject({ lastExit: { reason: 'memory' } })
    } finally {
      await services.close()
    }
    console.log(`${name}: at most ${highestMib.toFixed(0)} MiB of ${LIMIT_MIB}`)
    expect(highestMib).toBeLessThan(HIGHEST_PART * LIMIT_MIB)
  })
}

test('programs that compute with a limit slow their neighbour down by less than two', { timeout: 300_000 }, async () => {
  const driver = world.openDriver()
  const cores = availableParallelism()
  const busy = await Promise.all(
    Array.from({ length: 2 * cores }, (_, index) =>
      world.start(driver, world.serviceOf(nodeProgram('busy.mjs'), { id: `busy-${index}`, limits: { cpuPercent: 25 } })),
    ),
  )
  const neighbour = await world.start(driver, world.serviceOf(nodeProgram('turns.mjs'), { id: 'neighbour' }))
  await Promise.all([...busy, neighbour].map(({ ready }) => ready()))
  expect(busy[0]?.run.process?.limits.cpu).toBe('priority')
  const signalBusy = (signal: NodeJS.Signals) => {
    for (const { run } of busy) process.kill(run.process?.pid ?? 0, signal)
  }
  // Rounds with and without the programs take turns: whatever else the machine does, it does in both.
  const windows: { readonly isBusy: boolean; readonly fromMs: number; readonly toMs: number }[] = []
  for (let round = 0; round < 2 * ROUNDS; round++) {
    const isBusy = round % 2 === 0
    signalBusy(isBusy ? 'SIGCONT' : 'SIGSTOP')
    const fromMs = Date.now()
    await sleep(ROUND_MS)
    windows.push({ isBusy, fromMs, toMs: Date.now() })
  }
  signalBusy('SIGCONT')
  await Promise.all([...busy, neighbour].map(({ run }) => run.kill()))
  const turns = neighbour.lines.map((line) => line.split(' ').map(Number))
  const turnsOf = (isBusy: boolean) =>
    turns.flatMap(([atMs = 0, tookUs = 0]) =>
      windows.some((window) => window.isBusy === isBusy && atMs >= window.fromMs && atMs < window.toMs) ? [tookUs] : [],
    )
  const [beside, alone] = [percentile(turnsOf(true), 0.99), percentile(turnsOf(false), 0.99)]
  console.log(`a turn of the neighbour: p99 ${beside} us beside ${busy.length} busy programs, ${alone} us without them`)
  expect(beside).toBeLessThan(SLOWER * alone)
})
