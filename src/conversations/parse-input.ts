import type * as z from 'zod'
import { OrchestratorError } from '../errors/orchestrator-error.ts'

/** Checks an argument of a public method. Throws INPUT_INVALID with every problem under the name of the argument. */
export function parseInput<Schema extends z.ZodType>(schema: Schema, input: unknown, name: string): z.output<Schema> {
  const parsed = schema.safeParse(input)
  if (parsed.success) return parsed.data
  const problems = parsed.error.issues.map(({ path, message }) => `${[name, ...path].join('.')}: ${message}`)
  throw new OrchestratorError('INPUT_INVALID', `${problems.join('; ')}.`, { details: { problems } })
}
