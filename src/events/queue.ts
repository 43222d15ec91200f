import { EVENT_PRIORITIES, type EventPriority, type PolyphonyEvent } from '../domain/event.ts'
import type { DroppedEvents, EventHandler, HandlerOptions } from './event.ts'

export interface HandlerQueueDeps {
  readonly handler: EventHandler
  /** Estimated bytes of the events that may wait, where the options of the handler set no other number. */
  readonly maxBytes: number
  /** Called with what the handler throws or rejects with. */
  readonly onError: (error: unknown) => void
  /** Called with the number of events that were lost, each time. */
  readonly onDrop: (count: number) => void
  /** Called after every call of the handler. */
  readonly onHandled: () => void
}

/** The events that wait for one handler. */
export interface HandlerQueue {
  /** Must be called in the order of the numbers, with the estimated bytes of the event. Never waits. */
  push(event: PolyphonyEvent, bytes: number): void
  readonly waiting: number
  /** Drops what waits; the handler is not called again. */
  close(): void
}

const MAX_QUEUE = 1_000
/** More urgent events that are delivered while an event of priority `low` waits. */
const URGENT_BEFORE_LOW = 7
/** Milliseconds of calls that return at once, after which other work of the process has its chance. */
const SLICE_MS = 2
/** Calls between two readings of the clock. */
const CALLS_PER_READING = 16

/**
 * One queue in front of one handler, bounded by events and by bytes. One event may always wait, however large it is, so
 * that a handler that keeps up gets every event.
 */
export function createHandlerQueue(deps: HandlerQueueDeps, options: HandlerOptions = {}): HandlerQueue {
  const { maxQueue = MAX_QUEUE, maxQueueBytes = deps.maxBytes, overflow = 'drop_low', order = 'priority', onDropped } = options
  const lanes: Readonly<Record<EventPriority, Lane>> = {
    critical: createLane(),
    high: createLane(),
    normal: createLane(),
    low: createLane(),
  }
  let waiting = 0
  let waitingBytes = 0
  let urgentSinceLow = 0
  let isRunning = false
  let isClosed = false
  let dropped: DroppedEvents | undefined
  /** Rises with every event, so that the oldest one is known where numbers are 0. */
  let arrival = 0
  let calls = 0
  let sliceEndMs = 0

  /** Removes the oldest event of the lane. */
  const take = (lane: Lane | undefined): PolyphonyEvent | undefined => {
    const first = lane?.shift()
    if (!first) return undefined
    waiting -= 1
    waitingBytes -= first.bytes
    return first.event
  }
  const drop = (lane: Lane | undefined) => {
    const event = take(lane)
    if (!event) return
    const { seq } = event
    const { count = 0, fromSeq = 0, toSeq = 0 } = dropped ?? {}
    dropped = {
      count: count + 1,
      fromSeq: seq === 0 ? fromSeq : fromSeq === 0 ? seq : Math.min(fromSeq, seq),
      toSeq: Math.max(toSeq, seq),
    }
    deps.onDrop(1)
  }
  const filled = () => EVENT_PRIORITIES.map((priority) => lanes[priority]).filter((lane) => lane.size > 0)
  const oldest = () => {
    const [first, ...others] = filled()
    return others.reduce((one, other) => (one && one.firstArrival < other.firstArrival ? one : other), first)
  }
  const isOver = () => waiting > maxQueue || (waitingBytes > maxQueueBytes && waiting > 1)
  const makeSpace = () => drop(overflow === 'drop_oldest' ? oldest() : filled().at(-1))
  const mostUrgent = () => {
    const [first] = filled()
    const { low } = lanes
    const lane = low.size > 0 && urgentSinceLow >= URGENT_BEFORE_LOW ? low : first
    urgentSinceLow = lane === low || low.size === 0 ? 0 : urgentSinceLow + 1
    return lane
  }
  const next = (): PolyphonyEvent | undefined => take(order === 'arrival' ? oldest() : mostUrgent())
  const report = () => {
    const lost = dropped
    dropped = undefined
    if (!lost || !onDropped) return
    try {
      onDropped(lost)
    } catch (error) {
      deps.onError(error)
    }
  }

  /**
   * Lets timers and connections have their turn after a slice. Handlers whose promises settle at once need it as well:
   * one that answers each event with another would otherwise hold the process for ever.
   */
  const endSlice = async () => {
    await new Promise((resolve) => setImmediate(resolve))
    sliceEndMs = performance.now() + SLICE_MS
  }
  const run = async () => {
    while (!isClosed) {
      report()
      const event = next()
      if (!event) break
      try {
        const result = deps.handler(event)
        if (isThenable(result)) await result
      } catch (error) {
        deps.onError(error)
      }
      deps.onHandled()
      if (++calls % CALLS_PER_READING === 0 && performance.now() > sliceEndMs) await endSlice()
    }
    isRunning = false
  }

  return {
    push(event, bytes) {
      if (isClosed) return
      lanes[event.priority].push({ event, bytes, arrival: ++arrival })
      waiting += 1
      waitingBytes += bytes
      while (isOver()) makeSpace()
      if (isRunning) return
      isRunning = true
      // Events that are delivered together are sorted before the first one is handled.
      queueMicrotask(() => void run())
    },
    get waiting() {
      return waiting
    },
    close() {
      isClosed = true
      waiting = 0
      waitingBytes = 0
      for (const priority of EVENT_PRIORITIES) lanes[priority].clear()
    },
  }
}

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'

interface Lane {
  push(waiting: Waiting): void
  shift(): Waiting | undefined
  clear(): void
  readonly size: number
  readonly firstArrival: number
}

interface Waiting {
  readonly event: PolyphonyEvent
  readonly bytes: number
  readonly arrival: number
}

/** A list whose beginning is moved, because `Array.shift` copies long lists. */
function createLane(): Lane {
  let items: (Waiting | undefined)[] = []
  let start = 0
  return {
    push(waiting) {
      items.push(waiting)
    },
    shift() {
      const first = items[start]
      if (!first) return undefined
      items[start] = undefined
      start += 1
      if (start > 64 && start * 2 > items.length) {
        items = items.slice(start)
        start = 0
      }
      return first
    },
    clear() {
      items = []
      start = 0
    },
    get size() {
      return items.length - start
    },
    get firstArrival() {
      return items[start]?.arrival ?? Number.POSITIVE_INFINITY
    },
  }
}
