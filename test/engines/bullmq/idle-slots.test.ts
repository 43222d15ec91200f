import { beforeEach, expect, test } from 'vitest'
import type { Clock } from '../../../src/async/clock.ts'
import { createIdleSlots, type IdleSlots } from '../../../src/engines/bullmq/idle-slots.ts'
import type { Slot } from '../../../src/engines/bullmq/slot-queue.ts'

const IDLE_MS = 1_000

let nowMs: number
let timers: Set<() => void>
let mayWait: boolean
/** A clock whose timers run when told. */
const clock: Clock = {
  now: () => nowMs,
  random: () => 0.5,
  startTimer: (_, run) => {
    timers.add(run)
    return () => timers.delete(run)
  },
}

beforeEach(() => {
  nowMs = 0
  timers = new Set()
  mayWait = true
})

const open = (concurrency: number) => createIdleSlots({ clock, concurrency, idleMs: IDLE_MS, mayWait: () => mayWait })
const slotOf = (jobId: string, lock = new AbortController()): Slot => ({
  jobId,
  lost: new AbortController().signal,
  unlocked: lock.signal,
})
/** What BullMQ and the end of a flow do to a slot. */
const holdAndWait = (slots: IdleSlots, slot: Slot) => {
  slots.hold()
  return slots.wait(slot)
}

test('the slot that has waited the shortest gets the next flow, once', async () => {
  const slots = open(10)
  void holdAndWait(slots, slotOf('a'))
  const after = holdAndWait(slots, slotOf('b'))
  const taken = slots.take()
  expect(taken?.slot.jobId).toBe('b')
  taken?.settle({ kind: 'flow', end: Promise.resolve('ended') })
  expect(await after).toMatchObject({ kind: 'flow' })
  expect([slots.take()?.slot.jobId, slots.take()]).toEqual(['a', undefined])
  expect(timers.size).toBe(0)
})

test('a slot ends when no flow came in its time', async () => {
  const slots = open(10)
  const after = holdAndWait(slots, slotOf('a'))
  for (const run of timers) run()
  expect(await after).toEqual({ kind: 'over' })
  expect(slots.take()).toBeUndefined()
})

test('a slot is not used after its time, which passed while the process stood still', () => {
  const slots = open(10)
  void holdAndWait(slots, slotOf('a'))
  nowMs = IDLE_MS + 1
  expect(slots.take()).toBeUndefined()
})

test('at most half of the slots wait, and none of a process that holds one at a time', async () => {
  const slots = open(4)
  void holdAndWait(slots, slotOf('a'))
  void holdAndWait(slots, slotOf('b'))
  expect(await holdAndWait(slots, slotOf('c'))).toEqual({ kind: 'over' })
  expect(await holdAndWait(open(1), slotOf('a'))).toEqual({ kind: 'over' })
})

test('a process that holds all its slots ends the longest idle one, and lets none wait', async () => {
  const slots = open(4)
  const first = holdAndWait(slots, slotOf('a'))
  void holdAndWait(slots, slotOf('b'))
  slots.hold()
  slots.hold()
  expect(await first).toEqual({ kind: 'over' })
  expect(slots.take()?.slot.jobId).toBe('b')
  expect(await slots.wait(slotOf('b'))).toEqual({ kind: 'over' })
  slots.release()
  void slots.wait(slotOf('b'))
  expect(slots.take()?.slot.jobId).toBe('b')
})

test('while flows wait in the queue no slot waits and none is used', async () => {
  const slots = open(10)
  void holdAndWait(slots, slotOf('a'))
  mayWait = false
  expect(slots.take()).toBeUndefined()
  expect(await holdAndWait(slots, slotOf('b'))).toEqual({ kind: 'over' })
})

test('idle slots end when the engine drains, and when their lock could not be renewed', async () => {
  const slots = open(10)
  const lock = new AbortController()
  const unlocked = holdAndWait(slots, slotOf('a', lock))
  const drained = holdAndWait(slots, slotOf('b'))
  lock.abort()
  expect(await unlocked).toEqual({ kind: 'over' })
  expect(await slots.wait(slotOf('a', lock))).toEqual({ kind: 'over' })
  slots.endAll()
  expect(await drained).toEqual({ kind: 'over' })
  expect(timers.size).toBe(0)
})
