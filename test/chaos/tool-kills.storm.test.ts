import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { casesOf } from '../support/scale.ts'
import { effectsOf, type KilledRun, openKillWorld } from './kill-points.ts'

const RUNS = Number(process.env.CHAOS_RUNS ?? casesOf(24, 2))
const MODEL_CALLS = 3
const TIMEOUT_MS = 120_000 + RUNS * 30_000

let world: Awaited<ReturnType<typeof openKillWorld>>
beforeAll(async () => {
  world = await openKillWorld()
})
afterEach(() => world.killAll())
afterAll(() => world?.close())

const countOf = (values: readonly string[], wanted: string): number => values.filter((value) => value === wanted).length

test(`no turn is paid twice and no effect is doubled unasked when the process of a tool loop is killed at ${RUNS} of its boundaries`, {
  timeout: TIMEOUT_MS,
}, async () => {
  const found = { turnsAgain: 0, setsAgain: 0, sendsAgain: 0, unknown: 0 }
  const check = ({ calls, callsAfter, turnsBefore, lost, asked, context }: KilledRun) => {
    // No stored turn is paid again.
    for (const { turn = 0 } of callsAfter.filter(({ kind }) => kind === 'model')) {
      expect(turnsBefore, context).not.toContain(turn)
    }
    const turnsAgain = calls.filter(({ kind }) => kind === 'model').length - MODEL_CALLS
    // The receiver of an idempotent call takes one with a known key for the same.
    expect(new Set(effectsOf(calls, 'set')).size, context).toBe(2)
    const sendsAgain = effectsOf(calls, 'send').length - 2
    expect(asked, context).toBeGreaterThanOrEqual(sendsAgain)
    expect(countOf(lost, 'm'), context).toBeGreaterThanOrEqual(turnsAgain)
    expect(countOf(lost, 'send'), context).toBeGreaterThanOrEqual(sendsAgain)
    expect(countOf(lost, 'send'), context).toBeLessThanOrEqual(1)
    expect(countOf(lost, 'm'), context).toBeLessThanOrEqual(1)
    found.turnsAgain += turnsAgain
    found.setsAgain += effectsOf(calls, 'set').length - 2
    found.sendsAgain += sendsAgain
    found.unknown += lost.length
  }
  const points = await world.killRuns({
    flow: 'tools',
    runs: RUNS,
    calls: { model: MODEL_CALLS, tool: 4 },
    turns: [1, 2],
    lastStep: 'answer',
    outputOf: (run) => `answer of ${run}`,
    check,
  })
  console.log(`${JSON.stringify(found)} at ${points} points`)
})

test(`no stored result is called again and no effect is doubled unasked when the process of steps with functions is killed at ${RUNS} of its boundaries`, {
  timeout: TIMEOUT_MS,
}, async () => {
  const found = { setsAgain: 0, sendsAgain: 0, unknown: 0, asked: 0 }
  const check = ({ calls, callsAfter, outputsBefore, lost, asked, context }: KilledRun) => {
    for (const operation of ['set', 'send']) {
      const again = callsAfter.filter((call) => call.operation === operation)
      if (outputsBefore[operation] !== undefined) expect(again, context).toEqual([])
    }
    expect(new Set(effectsOf(calls, 'set')).size, context).toBe(1)
    expect(new Set(effectsOf(calls, 'send')).size, context).toBe(1)
    const sendsAgain = calls.filter(({ operation }) => operation === 'send').length - 1
    // Only a function that is not idempotent asks, and each of its calls that is repeated was asked about.
    expect(asked, context).toBeGreaterThanOrEqual(sendsAgain)
    expect(asked, context).toBe(countOf(lost, 'send'))
    expect(asked, context).toBeLessThanOrEqual(1)
    expect(countOf(lost, 'set'), context).toBeLessThanOrEqual(1)
    found.setsAgain += effectsOf(calls, 'set').length - 1
    found.sendsAgain += sendsAgain
    found.unknown += lost.length
    found.asked += asked
  }
  const points = await world.killRuns({
    flow: 'functions',
    runs: RUNS,
    calls: { model: 0, tool: 2 },
    turns: [],
    lastStep: 'send',
    outputOf: () => '{"done":true}',
    check,
  })
  console.log(`${JSON.stringify(found)} at ${points} points`)
})
