import { randomUUID } from 'node:crypto'
import type { Clock } from '../../async/clock.ts'
import type { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Gate, Pass, Rates } from '../gate.ts'
import { intervalOf, type SharedRates, type SlotRequest } from './shared-rates.ts'

export interface SharedGateDeps {
  readonly account: string
  readonly rates: Rates
  readonly shared: SharedRates
  /** Limits the requests of this process alone while the store does not answer. */
  readonly fallback: Gate
  readonly clock: Clock
  readonly warn: (message: string, facts: Readonly<Record<string, unknown>>) => void
  /** Upper bound on the random wait after a pause, milliseconds. */
  readonly jitterMs: number
}

type Slot = SlotRequest['slots'][number]

interface Waiter {
  readonly tokens: number
  readonly signal: AbortSignal
  readonly onClosed: ((leftMs: number) => OrchestratorError | undefined) | undefined
  readonly admit: (pass: Pass) => void
  readonly reject: (error: unknown) => void
}

/** Slots of so many milliseconds are taken together, so that fast accounts need few statements. */
const BATCH_MS = 50
/** Most slots of one statement, for accounts whose requests have no rate. */
const MAX_BATCH = 20
/**
 * Milliseconds by which the first request of a process to an account is expected to be late, because its code runs for
 * the first time.
 */
const FIRST_LATE_MS = 250
/** A request may be late by this, or by half an interval. */
const LATE_MS = 20
/** Spare slots cover at most so many milliseconds; a request that is later takes a new slot. */
const LONGEST_LATE_MS = 1_000
/** Milliseconds until slots of `maxConcurrency` that other processes hold are asked for again. */
const TAKEN_POLL_MS = 100
/** Longest wait for tokens after which they are asked for again: other processes may have given some back. */
const LONGEST_TOKEN_WAIT_MS = 1_000
/** Milliseconds between two searches for slots of dead processes. */
const RELEASE_INTERVAL_MS = 1_000
/** Milliseconds for which a store that did not answer is not asked. */
const AWAY_MS = 5_000

/**
 * The queue of the requests of this process to one account whose rates hold over all processes. Its first waiters take
 * slots when they are due soon; no process takes slots far ahead, because an aborted call could not return them.
 *
 * A request that is sent late, after its slot, would lie closer to the next ones than the rate allows. A process that
 * was late therefore takes spare slots behind its next ones, as many as cover that time, and leaves them unused.
 */
export function createSharedGate(deps: SharedGateDeps): Gate {
  const { account, rates, shared, fallback, clock, warn, jitterMs } = deps
  const intervalMs = intervalOf(rates)
  const batchSize = batchSizeOf(rates, intervalMs)
  const toleratedMs = Math.max(LATE_MS, intervalMs / 2)
  const maxTokens = Math.max(1, rates.tokensPerMinute ?? Number.POSITIVE_INFINITY)
  const queue = new Set<Waiter>()
  let lateMs = FIRST_LATE_MS
  let isPumping = false
  let awayUntil = 0
  let closedUntil = 0
  let releasedAt = 0
  let wake: (() => void) | undefined

  /** Resolves after the delay, or earlier if a request of this process ends. */
  const pause = (delayMs: number): Promise<void> =>
    new Promise((resolve) => {
      const stopTimer = clock.startTimer(delayMs, resolve)
      wake = () => {
        stopTimer()
        resolve()
      }
    })

  const sleep = (delayMs: number): Promise<void> => new Promise((resolve) => void clock.startTimer(delayMs, resolve))

  async function pump(): Promise<void> {
    if (isPumping) return
    isPumping = true
    try {
      while (queue.size > 0) await takeSlots()
    } catch (error) {
      awayUntil = clock.now() + AWAY_MS
      const code = error instanceof Error && 'code' in error ? error.code : undefined
      warn('the shared rates of a provider could not be read; this process keeps them alone for now', { account, code })
      for (const waiter of queue) passOn(waiter)
    } finally {
      isPumping = false
    }
  }

  /** Slots that cover the time by which this process was late. */
  const countSpare = (): number =>
    intervalMs === 0 ? 0 : Math.ceil(Math.max(0, Math.min(lateMs, LONGEST_LATE_MS) - toleratedMs) / intervalMs)

  async function takeSlots(): Promise<void> {
    const wanted = [...queue].slice(0, batchSize).map(({ tokens }) => createSlot(tokens))
    const spare = Array.from({ length: countSpare() }, () => createSlot(0))
    const slots = [...wanted, ...spare]
    const askedAt = clock.now()
    const { granted, waitMs, closedForMs } = await shared.take({ account, rates, slots })
    if (closedForMs > 0) return untilOpen(closedForMs)
    if (granted === 0) return waitMs > 0 ? pause(Math.min(waitMs, LONGEST_TOKEN_WAIT_MS)) : untilFree()
    leaveUnused(slots.slice(wanted.length, granted))
    // The store read its clock between the request and its answer.
    const firstAt = (askedAt + clock.now()) / 2 + waitMs
    const coveredMs = toleratedMs + Math.max(0, granted - wanted.length) * intervalMs
    const unused: Slot[] = []
    let latestMs = 0
    for (const [index, slot] of wanted.slice(0, granted).entries()) {
      const dueAt = firstAt + index * intervalMs
      const leftMs = dueAt - clock.now()
      if (leftMs > 1) await sleep(leftMs)
      const slotLateMs = clock.now() - dueAt
      latestMs = Math.max(latestMs, slotLateMs)
      const [waiter] = queue
      // Another request than the one for which tokens were taken may be the first by now, and need more of them.
      if (waiter && slotLateMs <= coveredMs && waiter.tokens <= slot.tokens) admit(waiter, slot)
      else unused.push(slot)
    }
    lateMs = latestMs
    leaveUnused(unused)
  }

  function leaveUnused(slots: readonly Slot[]): void {
    if (slots.length === 0) return
    const tokens = slots.reduce((sum, slot) => sum + slot.tokens, 0)
    leave(
      slots.map(({ id }) => id),
      tokens,
    )
  }

  async function untilOpen(closedForMs: number): Promise<void> {
    closedUntil = clock.now() + closedForMs
    for (const waiter of [...queue]) {
      const error = waiter.onClosed?.(closedForMs)
      if (!error) continue
      queue.delete(waiter)
      waiter.reject(error)
    }
    // Without jitter the waiting calls of all processes would be sent at the same moment.
    if (queue.size > 0) await sleep(closedForMs + clock.random() * jitterMs)
  }

  async function untilFree(): Promise<void> {
    if (clock.now() - releasedAt >= RELEASE_INTERVAL_MS) {
      releasedAt = clock.now()
      await shared.releaseSlots()
    }
    await pause(TAKEN_POLL_MS * (0.5 + clock.random()))
  }

  function admit(waiter: Waiter, { id, tokens }: Slot): void {
    queue.delete(waiter)
    let unused = 0
    waiter.admit({
      correct(used) {
        if (used !== undefined && rates.tokensPerMinute !== undefined) unused = tokens - used
      },
      leave() {
        if (rates.maxConcurrency !== undefined || unused !== 0) leave([id], unused)
      },
    })
  }

  function leave(ids: readonly string[], unusedTokens: number): void {
    if (rates.maxConcurrency === undefined && rates.tokensPerMinute === undefined) return
    const left = shared.leave(account, rates, ids, unusedTokens)
    // Slots that could not be given back are released when this process ends.
    left.then(
      () => wake?.(),
      (error) => warn('a slot of a provider could not be given back', { account, code: error?.code }),
    )
  }

  function passOn(waiter: Waiter): void {
    queue.delete(waiter)
    fallback.enter(waiter.tokens, waiter.signal).then(waiter.admit, waiter.reject)
  }

  return {
    enter(wanted, signal, onClosed) {
      if (signal.aborted) return Promise.reject(signal.reason)
      if (clock.now() < awayUntil) return fallback.enter(wanted, signal)
      const error = closedUntil > clock.now() ? onClosed?.(closedUntil - clock.now()) : undefined
      if (error) return Promise.reject(error)
      return new Promise((resolve, reject) => {
        const settle = () => signal.removeEventListener('abort', onAbort)
        const onAbort = () => {
          queue.delete(waiter)
          reject(signal.reason)
        }
        const waiter: Waiter = {
          tokens: rates.tokensPerMinute === undefined ? 0 : Math.min(wanted, maxTokens),
          signal,
          onClosed,
          admit: (pass) => {
            settle()
            resolve(pass)
          },
          reject: (error) => {
            settle()
            reject(error)
          },
        }
        signal.addEventListener('abort', onAbort, { once: true })
        queue.add(waiter)
        void pump()
      })
    },
  }
}

// A batch would wait until there are tokens for all its requests.
const batchSizeOf = ({ tokensPerMinute }: Rates, intervalMs: number): number => {
  if (tokensPerMinute !== undefined) return 1
  return intervalMs === 0 ? MAX_BATCH : Math.max(1, Math.floor(BATCH_MS / intervalMs))
}

const createSlot = (tokens: number): Slot => ({ id: randomUUID(), tokens })
