import { expect, test } from 'vitest'
import type { Probe } from '../../src/services/network/probes.ts'
import { createLifeWorld } from './life-world.ts'
import { SETTINGS } from './machine-world.ts'

const HOUR_MS = 3_600_000
const healthy: Probe = async () => ({ ok: true, detail: 'ok' })

const jumps = [
  ['an hour forward', HOUR_MS],
  ['an hour back', -HOUR_MS],
  ['by the hour of a suspend', HOUR_MS],
] as const

for (const [name, byMs] of jumps) {
  test(`a clock that is set ${name} restarts nothing, ends no wait early or late, and asks for no health`, async () => {
    let probes = 0
    const probe: Probe = (signal) => {
      probes++
      return healthy(signal)
    }
    const { life, advance, setWall, exit, settle, states } = createLifeWorld({ probe })
    void life.start()
    await advance(0)
    expect(life.snapshot().model.state).toBe('running')
    const asked = probes
    setWall(byMs)
    await advance(26_000)
    expect(probes).toBe(asked)
    await advance(10 * 60_000)
    expect(states).toEqual(['waiting', 'starting', 'running'])

    exit(1)
    await settle()
    expect(life.snapshot().model.state).toBe('backoff')
    setWall(byMs)
    await advance(999)
    expect(life.snapshot().model).toMatchObject({ state: 'backoff', restarts: 0 })
    await advance(1)
    expect(life.snapshot().model).toMatchObject({ state: 'running', restarts: 1 })
  })
}

test('a process that stalls for five seconds restarts nothing and counts no probe of that time as bad', async () => {
  const outcomes: (() => void)[] = []
  // Every probe is under way when the stall begins, and its answer is late.
  const probe: Probe = (signal) =>
    new Promise((resolve, reject) => {
      outcomes.push(() => resolve({ ok: true, detail: 'ok' }))
      signal.addEventListener('abort', () => reject(signal.reason))
    })
  const timing = { intervalMs: 1_000, timeoutMs: 2_000, startIntervalMs: 500, retryIntervalMs: 500 }
  const { life, advance, stall, states, settle } = createLifeWorld({ probe, settings: { machine: SETTINGS, probe: timing } })
  void life.start()
  await advance(0)
  outcomes.at(-1)?.()
  await settle()
  for (let round = 0; round < 10; round++) {
    await advance(1_100)
    await stall(5_000)
  }
  expect(life.snapshot().model).toMatchObject({ state: 'running', badProbes: 0, restarts: 0 })
  expect(states).toEqual(['waiting', 'starting', 'running'])
})

test('more processor time than the limit is reported once a minute and ends nothing', async () => {
  const usage = async () => ({ processes: 1, memoryBytes: 1, cpuPercent: 99 })
  const { life, limits, advance, states } = createLifeWorld({ probe: healthy, usage, cpuPercent: 25 })
  void life.start()
  await advance(59_000)
  expect(limits).toEqual(['cpu'])
  await advance(120_000)
  expect(limits).toEqual(['cpu', 'cpu', 'cpu'])
  expect(states).toEqual(['waiting', 'starting', 'running'])
})

test('a table of processes that cannot be read now is read again', async () => {
  let reads = 0
  const usage = () =>
    ++reads < 3
      ? Promise.reject(new Error('too many open files'))
      : Promise.resolve({ processes: 1, memoryBytes: 7, cpuPercent: 0 })
  const { life, advance } = createLifeWorld({ probe: healthy, usage })
  void life.start()
  await advance(7_000)
  expect(life.snapshot().usage).toMatchObject({ memoryBytes: 7 })
})
