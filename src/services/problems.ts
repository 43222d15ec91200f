import type * as z from 'zod'
import { toPathText, toProblems } from '../domain/definition/problems.ts'
import { withSuggestion } from '../domain/definition/suggestion.ts'
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
