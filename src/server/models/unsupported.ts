import * as z from 'zod'
import type { JsonSchema } from '../../domain/execution/model-call.ts'
import { refusal } from './request-errors.ts'

const isEmpty = (value: unknown): boolean =>
  value === undefined || value === null || value === false || (Array.isArray(value) && value.length === 0)

/**
 * A field that flows do not support: true when it requests something, of any depth or size. Empty lists, null and
 * false request nothing.
 */
export const unsupported = z
  .unknown()
  .optional()
  .transform((value) => !isEmpty(value))

/** `tool_choice` and `function_call`: true when no tool may be called, so that the list of tools requests nothing. */
export const noChoice = z
  .unknown()
  .optional()
  .transform((value) => value === 'none')

/**
 * Throws INPUT_INVALID with the reason for the first field that is true. Ignoring the field would mislead the client.
 */
export function refuseFields<Field extends string>(
  given: Readonly<Record<NoInfer<Field>, boolean>>,
  reasons: Readonly<Record<Field, string>>,
): void {
  for (const param in reasons) {
    if (given[param]) throw refusal(param, `${param} is not supported: ${reasons[param]}`, 'unsupported_parameter')
  }
}

const schemaOf = z.record(z.string(), z.unknown())

/** Form of the answer. `response_format` has its schema one level deeper than `text.format`. */
export const format = z.object({
  type: z.string().max(100),
  name: z.string().max(100).nullish(),
  schema: schemaOf.nullish(),
  json_schema: z.object({ schema: schemaOf.nullish() }).nullish(),
})
type Format = z.output<typeof format>

/** The JSON that a request demands as its answer. */
export interface WantedJson {
  /** Name of the field that demands it. */
  readonly param: string
  /** Undefined: any JSON. */
  readonly schema?: JsonSchema
}

/** The JSON that a request demands; undefined for text. Throws INPUT_INVALID for an unknown form. */
export function toWantedJson(given: Format | null | undefined, param: string): WantedJson | undefined {
  if (!given || given.type === 'text') return undefined
  if (given.type === 'json_object') return { param }
  if (given.type === 'json_schema') return { param, schema: given.json_schema?.schema ?? given.schema ?? undefined }
  const message = `${param}: expected type "text", "json_object" or "json_schema", found "${given.type}"`
  throw refusal(param, message, 'unsupported_parameter')
}

/** The limits are those of OpenAI. */
export const requestMetadata = z
  .record(z.string().max(64), z.string().max(512))
  .refine((pairs) => Object.keys(pairs).length <= 16, 'expected at most 16 pairs')
