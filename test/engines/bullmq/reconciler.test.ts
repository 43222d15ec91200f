import { beforeEach, expect, test } from 'vitest'
import type { Clock } from '../../../src/async/clock.ts'
import { startReconciler } from '../../../src/engines/bullmq/reconciler.ts'

/** A clock whose timers run when told. */
const timers: { readonly delayMs: number; readonly run: () => void }[] = []
const clock: Clock = {
  now: () => 0,
  random: () => 0.5,
  startTimer: (delayMs, run) => {
    timers.push({ delayMs, run })
    return () => undefined
  },
}

let queued: string[]
let due: string[]
let requires: string | undefined
let waiting: number
let added: number[]
let enabled: boolean
const errors: unknown[] = []

beforeEach(() => {
  timers.length = 0
  queued = []
  due = []
  requires = undefined
  waiting = 0
  added = []
  enabled = true
  errors.length = 0
})

const start = () =>
  startReconciler({
    clock,
    flows: {
      wakeDue: async () => due.splice(0),
      findQueued: async () => queued.map((flowId) => ({ flowId, ...(requires !== undefined && { requires }) })),
    },
    slots: {
      addMany: async (count) => {
        added.push(count)
      },
      countWaiting: async () => waiting,
    },
    registered: () => ['known@1'],
    isEnabled: () => enabled,
    onError: (error) => errors.push(error),
  })

test('adds as many slots as queued flows lack', async () => {
  queued = ['a', 'b', 'c']
  waiting = 1
  await start().pass()
  expect(added).toEqual([2])
})

test('adds none when every queued flow has a slot', async () => {
  queued = ['a', 'b']
  waiting = 5
  await start().pass()
  expect(added).toEqual([])
})

test('adds a slot for every paused flow that became due', async () => {
  due = ['a', 'b']
  await start().pass()
  expect(added).toEqual([2])
})

test('adds one slot at a time while no flow leaves the queue, and all again when one does', async () => {
  queued = ['a', 'b', 'c']
  const reconciler = start()
  await reconciler.pass()
  await reconciler.pass()
  queued = ['b', 'c']
  await reconciler.pass()
  expect(added).toEqual([3, 1, 2])
})

test('adds more slots with every pass until a flow leaves the queue that this process can run, and passes sooner', async () => {
  queued = ['a', 'b']
  requires = 'known@1'
  const reconciler = start()
  const usual = timers.at(-1)?.delayMs ?? 0
  for (let pass = 0; pass < 7; pass++) {
    const { length } = timers
    timers.at(-1)?.run()
    while (timers.length === length) await new Promise(setImmediate)
  }
  expect(added).toEqual([2, 1, 2, 4, 8, 16, 16])
  expect(timers.at(-1)?.delayMs).toBeLessThan(usual)
  queued = ['b']
  await reconciler.pass()
  requires = 'unknown@1'
  await reconciler.pass()
  await reconciler.pass()
  expect(added.slice(7)).toEqual([1, 1, 1])
})

test('adds all slots again when something has changed that may make flows runnable', async () => {
  queued = ['a', 'b']
  const reconciler = start()
  await reconciler.pass()
  await reconciler.recheck()
  expect(added).toEqual([2, 2])
})

test('does nothing in a process that may not take slots', async () => {
  queued = ['a']
  enabled = false
  await start().pass()
  expect(added).toEqual([])
})

test('continues with the next pass after one that failed', async () => {
  const reconciler = start()
  const failure = new Error('the database is away')
  queued = ['a']
  const { length } = timers
  Object.defineProperty(queued, 'map', {
    configurable: true,
    value: () => {
      throw failure
    },
  })
  timers.at(-1)?.run()
  while (timers.length === length) await new Promise(setImmediate)
  expect(errors).toEqual([failure])
  queued = ['a']
  timers.at(-1)?.run()
  while (timers.length === length + 1) await new Promise(setImmediate)
  expect(added).toEqual([1])
  await reconciler.stop()
})
