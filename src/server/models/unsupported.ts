import * as z from 'zod'
import { refusal } from './refusal.ts'

const isEmpty = (value: unknown): boolean =>
  value === undefined || value === null || value === false || (Array.isArray(value) && value.length === 0)

/** A field that no flow can serve: true where it asks for something. How deep or large that is does not matter. Empty lists, null and false ask for nothing. */
export const unsupported = z
  .unknown()
  .optional()
  .transform((value) => !isEmpty(value))

/** Refuses the fields that are true, each with why: left out unsaid, they would mislead whoever sent them. */
export function refuseFields<Field extends string>(
  given: Readonly<Record<NoInfer<Field>, boolean>>,
  reasons: Readonly<Record<Field, string>>,
): void {
  for (const param in reasons) {
    if (given[param]) throw refusal(param, `${param} is not supported: ${reasons[param]}`, 'unsupported_parameter')
  }
}

/** How the answer is to look. */
export const format = z.object({ type: z.string().max(100) })

export function refuseFormat(given: z.output<typeof format> | null | undefined, param: string): void {
  if (!given || given.type === 'text') return
  throw refusal(
    param,
    `${param}: expected type "text", found "${given.type}": the flow decides how its answer looks`,
    'unsupported_parameter',
  )
}

/** As OpenAI bounds it. */
export const requestMetadata = z
  .record(z.string().max(64), z.string().max(512))
  .refine((pairs) => Object.keys(pairs).length <= 16, 'expected at most 16 pairs')
