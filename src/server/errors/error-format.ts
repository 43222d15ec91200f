import type { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { toErrorHeaders } from './error-headers.ts'
import { type ProblemContext, toProblem } from './problem-details.ts'

/** An error as the client receives it. */
export interface ErrorAnswer {
  readonly status: number
  /** `content-type` and further headers of this error. */
  readonly headers: Record<string, string>
  /** Sent as JSON. */
  readonly body: unknown
}

/** The form of errors for one part of the server. */
export interface ErrorFormat {
  /** Path prefix, such as `/v1`. The format holds for the routes below it and for unknown paths there. */
  readonly under: string
  toAnswer(error: OrchestratorError, context: ProblemContext): ErrorAnswer
}

/** The default: problem details (RFC 9457). */
const toProblemAnswer: ErrorFormat['toAnswer'] = (error, context) => {
  const problem = toProblem(error, context)
  return { status: problem.status, headers: { 'content-type': 'application/problem+json' }, body: problem }
}

/** Returns a function that formats an error as the clients of its path expect it. */
export function createErrorAnswers(formats: readonly ErrorFormat[]): ErrorFormat['toAnswer'] {
  return (error, context) => {
    const { instance = '' } = context
    const format = formats.find(({ under }) => instance === under || instance.startsWith(`${under}/`))
    const answer = format ? format.toAnswer(error, context) : toProblemAnswer(error, context)
    return { ...answer, headers: { ...toErrorHeaders(error), ...answer.headers } }
  }
}
