import type { FlowUpdate } from '../../../domain/execution/flow-update.ts'
import type { Part } from '../answer.ts'
import { type CallerCall, callerCallsOf } from './caller-call.ts'
import type { AnsweredFlow } from './tool-results.ts'

type Pause = Extract<FlowUpdate, { readonly type: 'flow_paused' }>

/**
 * How far a flow has come for a request: past the pauses whose calls the request answers and those that other decisions
 * have ended, up to the next one.
 */
export interface Course {
  /**
   * The calls that the client must make now, empty if the flow waits for something else. `answered`: the request has
   * their results, or everything was decided before it, so that the flow continues.
   */
  pausedFor(pause: Pause): readonly CallerCall[] | 'answered'
  /** What the answer to the request has spent. */
  readonly part: Part
}

/** Updates are read from the first one of the flow. */
export function createCourse({ answered, open, over }: Omit<AnsweredFlow, 'count'> = NEW_FLOW): Course {
  let isFound = answered.size === 0
  let after: Date | undefined
  let until: Date | undefined
  return {
    pausedFor({ data: { waits }, timestamp }) {
      const calls = callerCallsOf(waits)
      const isAnswered = calls.some(({ id }) => answered.has(id))
      isFound ||= isAnswered
      const isPast = calls.length > 0 && !calls.some(({ id }) => open.has(id)) && (isAnswered || !isFound)
      if (isPast) {
        after = timestamp
        return 'answered'
      }
      if (calls.length === 0 && waits.every(({ hash }) => over.has(hash))) return 'answered'
      if (calls.length > 0) until = timestamp
      return calls
    },
    get part() {
      return { after, ...(until && { until }) }
    },
  }
}

const NEW_FLOW = { answered: new Set<string>(), open: new Set<string>(), over: new Set<string>() }
