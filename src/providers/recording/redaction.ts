import type { ModelRequest } from '../../domain/execution/model-call.ts'
import { digestOf, type Json, toCanonicalJson, toCanonicalRequest } from '../../prompts/request-key.ts'
import type { RecordedExchange } from './recording-format.ts'

/**
 * User and password of an address. It begins with the mark after the scheme: with a scheme of any length in front, the
 * search would start at every letter of a long text, and read the rest of it each time.
 */
const CREDENTIALS = /:\/\/[^\s/@:'"]+:[^\s/@'"]+@/g

/** A header of authorization that a server repeats. Tokens hold digits, `=` or inner capitals, unlike words. */
const AUTHORIZATION = /\b([Bb]earer|[Bb]asic) (?=[\w.~+/=-]*(?:[\d=]|[a-z][A-Z]))[\w.~+/=-]{8,}/g

/** Replaces secrets in text. */
export type Redact = (text: string) => string

/** Removes the given secrets, also escaped in JSON or an address, and all credentials of addresses and headers. */
export function createRedaction(secrets: readonly string[]): Redact {
  const forms = [...new Set(secrets.flatMap(formsOf))].sort((a, b) => b.length - a.length)
  return (text) => {
    let redacted = text.replace(CREDENTIALS, '://…@').replace(AUTHORIZATION, '$1 [secret]')
    for (const secret of forms) redacted = redacted.replaceAll(secret, '[secret]')
    return redacted
  }
}

/** A secret as a text may hold it. JSON may stand in a text of JSON: arguments of a tool that repeat an answer. */
function formsOf(secret: string): readonly string[] {
  const escaped = inJson(secret)
  return [
    secret,
    escaped,
    inJson(escaped),
    encodeURIComponent(Buffer.from(secret).toString()),
    `${new URLSearchParams([['', secret]])}`.slice(1),
  ]
}

const inJson = (text: string): string => JSON.stringify(text).slice(1, -1)

/** A request without secrets, with the key that it shares with all equal requests to the provider. */
export function toKeptRequest(
  provider: string,
  request: ModelRequest,
  redact: Redact,
): Pick<RecordedExchange, 'request' | 'key'> {
  const kept = toCanonicalJson(toCanonicalRequest(request), redact)
  const fields = isJsonObject(kept) ? kept : {}
  return { request: fields, key: recordingKeyOf(provider, fields) }
}

/** The key of a request as it is kept. */
export const recordingKeyOf = (provider: string, request: RecordedExchange['request']): string =>
  digestOf([provider, toCanonicalJson(request) ?? null])

const isJsonObject = (json: Json | undefined): json is { readonly [name: string]: Json } =>
  typeof json === 'object' && json !== null && !Array.isArray(json)

/** The text is redacted as a whole where a secret is spread over several chunks. */
export function redactChunks(
  chunks: NonNullable<RecordedExchange['chunks']>,
  redact: Redact,
): NonNullable<RecordedExchange['chunks']> {
  const text = chunks.map(textOf).join('')
  if (redact(text) === text) return chunks.map((chunk) => redactChunk(chunk, redact))
  const merged: NonNullable<RecordedExchange['chunks']> = []
  for (const chunk of chunks) {
    const last = merged.at(-1)
    if (typeof chunk === 'string' && typeof last === 'string') merged[merged.length - 1] = last + chunk
    else if (isReasoning(chunk) && isReasoning(last)) merged[merged.length - 1] = { reasoning: last.reasoning + chunk.reasoning }
    else merged.push(chunk)
  }
  return merged.map((chunk) => redactChunk(chunk, redact))
}

type Chunks = NonNullable<RecordedExchange['chunks']>

const isReasoning = (chunk: Chunks[number] | undefined): chunk is { readonly reasoning: string } & Chunks[number] =>
  typeof chunk === 'object' && 'reasoning' in chunk

const textOf = (chunk: Chunks[number]): string => (typeof chunk === 'string' ? chunk : isReasoning(chunk) ? chunk.reasoning : '')

function redactChunk(chunk: Chunks[number], redact: Redact): Chunks[number] {
  if (typeof chunk === 'string') return redact(chunk)
  return isReasoning(chunk) ? { reasoning: redact(chunk.reasoning) } : chunk
}
