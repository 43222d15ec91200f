import { callListener } from '../async/call-listener.ts'
import type {
  CallContent,
  CallObservation,
  CallStart,
  FlowObservation,
  FlowObserver,
  StartedFlow,
} from '../domain/execution/observation.ts'

/** Combines several observers. Their errors are ignored, because telemetry must not make a flow fail. */
export function joinObservers(observers: readonly FlowObserver[]): FlowObserver {
  return {
    isWatching: () => observers.some((observer) => observer.isWatching()),
    flowStarted(flow) {
      const started = observers.filter((observer) => observer.isWatching()).map((observer) => startWith(observer, flow))
      if (!started.some((observation) => observation instanceof Promise)) return joinFlows(started.filter(isObservation))
      return Promise.all(started).then((observations) => joinFlows(observations.filter(isObservation)))
    },
  }
}

type Started = FlowObservation | undefined | Promise<FlowObservation | undefined>

const isObservation = (started: Started): started is FlowObservation => started !== undefined && !(started instanceof Promise)

function startWith(observer: FlowObserver, flow: StartedFlow): Started {
  const started = callListener(() => observer.flowStarted(flow))
  return started instanceof Promise ? started.catch(() => undefined) : started
}

function joinFlows(observations: readonly FlowObservation[]): FlowObservation {
  const watchesCalls = observations.some(({ callStarted }) => callStarted)
  return {
    within: nested(observations),
    callStarted: watchesCalls ? (call) => startCalls(observations, call) : undefined,
    ended: (ending) => notifyAll(observations, (observation) => observation.ended(ending)),
  }
}

function startCalls(observations: readonly FlowObservation[], call: CallStart): CallObservation {
  const calls = observations.flatMap((observation) => callListener(() => observation.callStarted?.(call)) ?? [])
  const readers = calls.flatMap(({ content }) => content ?? [])
  return {
    within: nested(calls),
    attempted: (attempt) => notifyAll(calls, (observation) => observation.attempted(attempt)),
    ended: (ending) => notifyAll(calls, (observation) => observation.ended(ending)),
    content: readers.length === 0 ? undefined : joinContent(readers),
  }
}

const joinContent = (readers: readonly CallContent[]): CallContent => ({
  asked: (prompt) => notifyAll(readers, (reader) => reader.asked(prompt)),
  answered: (answer) => notifyAll(readers, (reader) => reader.answered(answer)),
})

interface Wrapper {
  readonly within?: <T>(work: () => T) => T
}

function nested(wrappers: readonly Wrapper[]): Wrapper['within'] {
  const wraps = wrappers.flatMap(({ within }) => within ?? [])
  if (wraps.length === 0) return undefined
  return <T>(work: () => T): T => wraps.reduceRight<() => T>((inner, within) => () => within(inner), work)()
}

function notifyAll<Observer>(observers: readonly Observer[], notify: (observer: Observer) => void): void {
  for (const observer of observers) callListener(() => notify(observer))
}
