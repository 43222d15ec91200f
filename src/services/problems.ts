import type * as z from 'zod'
import { toPathText, toProblems } from '../domain/definition/problems.ts'
import { findSuggestion, quoted, withSuggestion } from '../domain/definition/suggestion.ts'
import { serviceSchema } from '../domain/services/service-schema.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'

/** SERVICE_INVALID with every problem in `details.problems`. */
export function serviceInvalid(issues: readonly z.core.$ZodIssue[], input: unknown): OrchestratorError {
  const problems = toProblems(serviceSchema, issues, input).map((problem) => ({
    ...problem,
    path: problem.path === toPathText([]) ? 'service' : problem.path,
  }))
  const lines = problems.map(({ path, message, suggestion }) => `${path}: ${withSuggestion(message, suggestion)}`)
  return new OrchestratorError('SERVICE_INVALID', lines.join('\n'), { details: { problems } })
}

/** SERVICE_NOT_FOUND with the id that was probably meant. */
export function serviceNotFound(id: string, known: Iterable<string>): OrchestratorError {
  const name = String(id)
  const suggestion = findSuggestion(name, known)
  return new OrchestratorError('SERVICE_NOT_FOUND', withSuggestion(`no service has the id ${quoted(name)}`, suggestion), {
    details: { service: id, ...(suggestion !== undefined && { suggestion }) },
  })
}

export const serviceExists = (id: string, message: string): OrchestratorError =>
  new OrchestratorError('SERVICE_EXISTS', message, { details: { service: id } })

/** A remote service has one address for all processes. */
export function remoteAdvertised(id: string): OrchestratorError {
  const message = `advertise: expected it only for a program or code of this process: "${id}" is at its endpoint for all`
  return new OrchestratorError('SERVICE_INVALID', message, { details: { service: id } })
}
