import * as z from 'zod'
import type { JsonSchema } from '../../domain/execution/model-call.ts'
import { refusal } from './request-errors.ts'

const isEmpty = (value: unknown): boolean =>
  value === undefined || value === null || value === false || (Array.isArray(value) && value.length === 0)

/**
 * A field that no flow can serve: true where it asks for something. How deep or large that is does not matter. Empty
 * lists, null and false ask for nothing.
 */
export const unsupported = z
  .unknown()
  .optional()
  .transform((value) => !isEmpty(value))

/**
 * `tool_choice` and `function_call`: true where none of the tools may be called, so that offering them asks for
 * nothing.
 */
export const noChoice = z
  .unknown()
  .optional()
  .transform((value) => value === 'none')

/** Refuses the fields that are true, each with why: left out unsaid, they would mislead whoever sent them. */
export function refuseFields<Field extends string>(
  given: Readonly<Record<NoInfer<Field>, boolean>>,
  reasons: Readonly<Record<Field, string>>,
): void {
  for (const param in reasons) {
    if (given[param]) throw refusal(param, `${param} is not supported: ${reasons[param]}`, 'unsupported_parameter')
  }
}

const schemaOf = z.record(z.string(), z.unknown())

/** How the answer is to look: `response_format` has its schema one level deeper than `text.format`. */
export const format = z.object({
  type: z.string().max(100),
  name: z.string().max(100).nullish(),
  schema: schemaOf.nullish(),
  json_schema: z.object({ schema: schemaOf.nullish() }).nullish(),
})
type Format = z.output<typeof format>

/** JSON that the answer has to be; `schema` absent: any. */
export interface WantedJson {
  /** Name of the field that asks for it. */
  readonly param: string
  readonly schema?: JsonSchema
}

/**
 * What a request asks of the form of its answer; `undefined` for text. Throws INPUT_INVALID for a form that there is
 * not.
 */
export function toWantedJson(given: Format | null | undefined, param: string): WantedJson | undefined {
  if (!given || given.type === 'text') return undefined
  if (given.type === 'json_object') return { param }
  if (given.type === 'json_schema') return { param, schema: given.json_schema?.schema ?? given.schema ?? undefined }
  const message = `${param}: expected type "text", "json_object" or "json_schema", found "${given.type}"`
  throw refusal(param, message, 'unsupported_parameter')
}

/** As OpenAI bounds it. */
export const requestMetadata = z
  .record(z.string().max(64), z.string().max(512))
  .refine((pairs) => Object.keys(pairs).length <= 16, 'expected at most 16 pairs')
