import * as z from 'zod'
import { REQUEST_KEY } from '../../../domain/execution/request-instructions.ts'
import type { ParseOptions } from '../chat/chat-request.ts'
import type { ResponseRequest } from './response-request.ts'

const stored = z.object({
  model: z.string(),
  background: z.boolean(),
  instructions: z.string().optional(),
  previousResponseId: z.string().optional(),
  /** Form of the answer that the client requested. Undefined: text. */
  format: z.looseObject({ type: z.string() }).optional(),
})
/** Fields of the request that the response repeats. The metadata of the flow contains them under a key of their own. */
export type ResponseFacts = z.output<typeof stored> & { readonly metadata: Readonly<Record<string, string>> }

export const toResponseFacts = (body: ResponseRequest, { ignoreUnsupported }: ParseOptions): ResponseFacts => ({
  model: body.model,
  background: body.background ?? false,
  instructions: body.instructions ?? undefined,
  previousResponseId: body.previous_response_id ?? undefined,
  format: ignoreUnsupported || body.text?.format?.type === 'text' ? undefined : (body.text?.format ?? undefined),
  metadata: body.metadata ?? {},
})

/** The facts as metadata of the flow, beside the pairs of the client, which prompts can read. */
export const toFlowMetadata = ({ metadata, ...facts }: ResponseFacts): Readonly<Record<string, unknown>> => ({
  ...metadata,
  [REQUEST_KEY]: facts,
})

/** The facts of the flow of a response; undefined for every other flow. */
export function findResponseFacts(metadata: Readonly<Record<string, unknown>> = {}): ResponseFacts | undefined {
  const { [REQUEST_KEY]: facts, ...rest } = metadata
  const parsed = stored.safeParse(facts)
  if (!parsed.success) return undefined
  const pairs = Object.entries(rest).flatMap(([name, value]) => (typeof value === 'string' ? [[name, value] as const] : []))
  return { ...parsed.data, metadata: Object.fromEntries(pairs) }
}
