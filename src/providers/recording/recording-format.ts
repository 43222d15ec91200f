import * as z from 'zod'
import type { CallFacts } from '../../domain/execution/call-facts.ts'
import type { ModelResponse } from '../../domain/execution/model-call.ts'
import type { Cost } from '../../domain/execution/usage.ts'
import type { Json } from '../../prompts/request-key.ts'
import { errorInfo } from '../../protocol/problem.ts'
import type { ProviderOperation } from '../provider.ts'
import { isRecord } from '../vendor/foreign-json.ts'

/**
 * A recording is a directory: `recording.jsonl` with the facts that hold for all requests, and `exchanges/` with one
 * JSON file per request and its answer. Names, order of fields and indentation are stable, so that recordings can be
 * read and compared. See docs/decisions/0036-record-and-replay.md.
 */
export const RECORDING_VERSION = 1
export const FACTS_FILE = 'recording.jsonl'
export const EXCHANGES_FOLDER = 'exchanges'

const tokens = z.number().int().nonnegative().optional()
const usage = z.object({
  inputTokens: tokens,
  cachedInputTokens: tokens,
  cacheWriteTokens: tokens,
  outputTokens: tokens,
  reasoningTokens: tokens,
  totalTokens: tokens,
  source: z.enum(['reported', 'estimated', 'unknown']),
})

const source = z.object({
  kind: z.enum(['citation', 'annotation', 'search_result']),
  url: z.string().optional(),
  title: z.string().optional(),
  text: z.string().optional(),
  startIndex: z.number().optional(),
  endIndex: z.number().optional(),
})

/** Bytes, as base64. */
const bytes = z.object({ $bytes: z.base64() }).transform(({ $bytes }) => new Uint8Array(Buffer.from($bytes, 'base64')))

const answer: z.ZodType<ModelResponse> = z.object({
  text: z.string(),
  refusal: z.string().optional(),
  reasoningText: z.string().optional(),
  toolCalls: z.array(z.object({ id: z.string().optional(), name: z.string(), arguments: z.string() })).optional(),
  vendorTurn: z.object({ provider: z.string(), model: z.string(), blocks: z.array(z.unknown()) }).optional(),
  sources: z.array(source).optional(),
  files: z.array(z.object({ name: z.string().optional(), mediaType: z.string(), data: bytes })).optional(),
  value: z.unknown().optional(),
  isPaused: z.boolean().optional(),
  finishReason: z.enum(['stop', 'length', 'tool_calls', 'content_filter', 'refusal', 'other']),
  model: z.string(),
  usage,
  providerCostUsd: z.number().optional(),
  serviceTier: z.string().optional(),
  notes: z.array(z.string()),
  // Every field must be listed: what a recording leaves out would be missing from replayed answers.
} satisfies Record<keyof ModelResponse, z.ZodType>)

const facts: z.ZodType<CallFacts> = z.object({
  retryAfterMs: z.number().optional(),
  status: z.number().optional(),
  usage: usage.optional(),
  model: z.string().optional(),
  answer: answer.optional(),
  generated: z.boolean(),
} satisfies Record<keyof CallFacts, z.ZodType>)

/** An error of the table, or another error that a provider written in code threw. */
const failure = z.union([errorInfo, z.object({ message: z.string() })])

/** Text as it is; everything else that reaches the listeners of a request, by its kind. */
const chunk = z.union([z.string(), z.object({ reasoning: z.string() }), z.object({ void: z.literal(true) })])

/** An object as `JSON.parse` gives it. A schema that copied it would lose its members named `__proto__`. */
const jsonMembers = z.custom<Readonly<Record<string, Json>>>(isRecord, 'expected an object')

/** One request to one provider and what came of it. */
export const exchangeSchema = z.object({
  provider: z.string(),
  /** SHA-256 over the provider and the request; equal requests have the same. */
  key: z.string(),
  /** From 1: which of the equal requests it was. */
  number: z.number().int().positive(),
  request: jsonMembers,
  /** What a streamed request delivered, in order; absent for a plain one. */
  chunks: z.array(chunk).optional(),
  outcome: z.union([
    z.object({ answer }),
    z.object({ error: failure, facts: facts.optional() }),
    /** The caller ended the request before its answer was complete. */
    z.object({ aborted: z.literal(true), facts: facts.optional() }),
  ]),
})
export type RecordedExchange = z.output<typeof exchangeSchema>
export type Outcome = RecordedExchange['outcome']
export type Chunk = z.output<typeof chunk>

/** An operation without its check, which follows from its schema. */
const operation: z.ZodType<Omit<ProviderOperation, 'check'>> = z.object({
  name: z.string(),
  description: z.string().optional(),
  input: jsonMembers,
  output: jsonMembers.optional(),
  idempotent: z.boolean(),
  approval: z.boolean(),
  expose: z.enum(['code', 'api']),
} satisfies Record<Exclude<keyof ProviderOperation, 'check'>, z.ZodType>)

const cost = z.object({
  costUsd: z.number(),
  source: z.enum(['provider', 'prices', 'configured', 'free']),
  pricesDate: z.string().optional(),
  estimated: z.boolean(),
} satisfies Record<keyof Cost, z.ZodType>)

/** One line of `recording.jsonl`. */
export const factSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('recording'), version: z.literal(RECORDING_VERSION) }),
  z.object({
    kind: z.literal('provider'),
    id: z.string(),
    adapter: z.string(),
    vendor: z.string(),
    simulated: z.boolean(),
    inProcess: z.boolean().optional(),
    inHouse: z.boolean().optional(),
  }),
  /** What a provider offers; the newest list counts. */
  z.object({ kind: z.literal('operations'), provider: z.string(), operations: z.array(operation) }),
  /** The id of a new thread or flow, by what was asked for. */
  z.object({ kind: z.enum(['thread', 'flow']), key: z.string(), id: z.string() }),
  /** What an answer cost; without `cost` it has no known price. */
  z.object({ kind: z.literal('cost'), answer: jsonMembers, cost: cost.optional() }),
])
export type Fact = z.output<typeof factSchema>

/** The readable part of a file name. */
export const toPlainName = (text: string): string => text.replace(/[^A-Za-z0-9._-]+/g, '-').slice(0, 60)

/** `openai-gpt-6-sol-0f3a…-1.json`: the same request always has the same name. */
export const toExchangeName = ({
  provider,
  request,
  key,
  number,
}: Pick<RecordedExchange, 'provider' | 'request' | 'key' | 'number'>) =>
  `${toPlainName(provider)}-${toPlainName(String(request.model))}-${key.slice(0, 16)}-${number}.json`
