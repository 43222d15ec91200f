import * as z from 'zod'
import type { JsonSchema } from '../execution/model-call.ts'

/** The provider under which steps name caller tools: `caller/<name>`, or `caller/*` for all of the definition. */
export const CALLER_PROVIDER = 'caller'

/** Characters of one schema as JSON. */
const MAX_PARAMETERS = 100_000
const NO_PARAMETERS: JsonSchema = { type: 'object', properties: {} }

const parametersField = z.record(z.string(), z.unknown()).refine((schema) => {
  try {
    return schema.type === 'object' && JSON.stringify(schema).length <= MAX_PARAMETERS
  } catch {
    return false
  }
}, `expected a JSON Schema with type "object" of at most ${MAX_PARAMETERS} characters`)

/**
 * A tool that the caller of the flow runs: the flow waits at a call of it until `signal` brings the result.
 */
export const callerToolSchema = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, 'expected up to 64 letters, digits, "_" or "-"'),
  /** What it does, for the model. */
  description: z.string().max(20_000).optional(),
  /** JSON Schema of its arguments, an object. Default: no arguments. */
  parameters: parametersField.default(NO_PARAMETERS),
})
export type CallerTool = z.output<typeof callerToolSchema>

/** At most as many as one step may name. */
const MAX_CALLER_TOOLS = 128

export const callerToolsField = z
  .array(callerToolSchema)
  .max(MAX_CALLER_TOOLS)
  .refine((tools) => new Set(tools.map(({ name }) => name)).size === tools.length, 'expected a name of its own for every tool')
