import type { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { toErrorHeaders } from './error-headers.ts'
import { type ProblemContext, toProblem } from './problem-details.ts'

/** An error as it is sent. */
export interface ErrorAnswer {
  readonly status: number
  /** `content-type` and whatever else belongs to it. */
  readonly headers: Record<string, string>
  /** Sent as JSON. */
  readonly body: unknown
}

/** How errors are told to the clients of one part of the server. */
export interface ErrorFormat {
  /** Path above which this holds, such as `/v1`: for its routes, and for addresses that nothing answers. */
  readonly under: string
  toAnswer(error: OrchestratorError, context: ProblemContext): ErrorAnswer
}

/** RFC 9457: wherever nothing else is said. */
const toProblemAnswer: ErrorFormat['toAnswer'] = (error, context) => {
  const problem = toProblem(error, context)
  return { status: problem.status, headers: { 'content-type': 'application/problem+json' }, body: problem }
}

/** Tells an error the way that the clients of its path understand. */
export function createErrorAnswers(formats: readonly ErrorFormat[]): ErrorFormat['toAnswer'] {
  return (error, context) => {
    const { instance = '' } = context
    const format = formats.find(({ under }) => instance === under || instance.startsWith(`${under}/`))
    const answer = format ? format.toAnswer(error, context) : toProblemAnswer(error, context)
    return { ...answer, headers: { ...toErrorHeaders(error), ...answer.headers } }
  }
}
