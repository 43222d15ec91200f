import * as z from 'zod'
import { REQUEST_KEY } from '../../../domain/execution/request-instructions.ts'
import type { ParseOptions } from '../chat/chat-request.ts'
import type { ResponseRequest } from './response-request.ts'

/** Where a flow keeps, in its metadata, what the response has beside its answer. */
const KEY = REQUEST_KEY

const stored = z.object({
  model: z.string(),
  background: z.boolean(),
  instructions: z.string().optional(),
  previousResponseId: z.string().optional(),
  /** The form of the answer that was asked for; absent: text. */
  format: z.looseObject({ type: z.string() }).optional(),
})
/** What the client said that the response says again. */
export type ResponseFacts = z.output<typeof stored> & { readonly metadata: Readonly<Record<string, string>> }

export const toResponseFacts = (body: ResponseRequest, { ignoreUnsupported }: ParseOptions): ResponseFacts => ({
  model: body.model,
  background: body.background ?? false,
  instructions: body.instructions ?? undefined,
  previousResponseId: body.previous_response_id ?? undefined,
  format: ignoreUnsupported || body.text?.format?.type === 'text' ? undefined : (body.text?.format ?? undefined),
  metadata: body.metadata ?? {},
})

/** As metadata of the flow; pairs of the client stand beside it, where prompts find them. */
export const toFlowMetadata = ({ metadata, ...facts }: ResponseFacts): Readonly<Record<string, unknown>> => ({
  ...metadata,
  [KEY]: facts,
})

/** The facts of a flow that answers a response; `undefined` for every other flow. */
export function findResponseFacts(metadata: Readonly<Record<string, unknown>> = {}): ResponseFacts | undefined {
  const { [KEY]: facts, ...rest } = metadata
  const parsed = stored.safeParse(facts)
  if (!parsed.success) return undefined
  const pairs = Object.entries(rest).flatMap(([name, value]) => (typeof value === 'string' ? [[name, value] as const] : []))
  return { ...parsed.data, metadata: Object.fromEntries(pairs) }
}
