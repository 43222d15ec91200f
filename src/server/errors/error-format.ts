import type { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { toErrorHeaders } from './error-headers.ts'
import { type ProblemContext, toProblem } from './problem-details.ts'

/** The HTTP response for an error. */
export interface ErrorAnswer {
  readonly status: number
  /** `content-type` and further headers of this format. */
  readonly headers: Record<string, string>
  /** Body of the response, sent as JSON. */
  readonly body: unknown
}

/** How errors are written under one path of the server. */
export interface ErrorFormat {
  /** Path prefix such as `/v1`: the format applies to its routes and to unknown addresses under it. */
  readonly under: string
  toAnswer(error: OrchestratorError, context: ProblemContext): ErrorAnswer
}

/** RFC 9457, the default format. */
const toProblemAnswer: ErrorFormat['toAnswer'] = (error, context) => {
  const problem = toProblem(error, context)
  return { status: problem.status, headers: { 'content-type': 'application/problem+json' }, body: problem }
}

/** Writes an error in the format of the request's path. `basePath`: what clients see before the paths of the server. */
export function createErrorAnswers(formats: readonly ErrorFormat[], basePath: string): ErrorFormat['toAnswer'] {
  return (error, { instance = '', ...context }) => {
    const format = formats.find(({ under }) => instance === under || instance.startsWith(`${under}/`))
    const seen = { ...context, instance: basePath + instance }
    const answer = format ? format.toAnswer(error, seen) : toProblemAnswer(error, seen)
    return { ...answer, headers: { ...toErrorHeaders(error), ...answer.headers } }
  }
}
