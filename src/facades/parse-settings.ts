import type * as z from 'zod'
import { toProblems } from '../domain/definition/problems.ts'
import { withSuggestion } from '../domain/definition/suggestion.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'

/** Returns the checked values. Throws CONFIG_INVALID with each wrong field, what it expected and what it found. */
export function parseSettings<Schema extends z.ZodType>(schema: Schema, given: unknown, subject: string): z.output<Schema> {
  const parsed = schema.safeParse(given)
  if (parsed.success) return parsed.data
  const problems = toProblems(schema, parsed.error.issues, given)
  const lines = problems.map(
    ({ path, message, suggestion }) => `${path === 'definition' ? 'options' : path}: ${withSuggestion(message, suggestion)}`,
  )
  throw new OrchestratorError('CONFIG_INVALID', `${subject}: ${lines.join('; ')}`, { details: { problems } })
}
