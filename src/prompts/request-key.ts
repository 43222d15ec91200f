import { createHash } from 'node:crypto'
import type { ModelRequest } from '../domain/execution/model-call.ts'
import { createMarkerNumbering } from './fence.ts'

export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json }

/**
 * The fields of a request that decide its answer. A new field of `ModelRequest` does not compile until it is listed
 * here, because an answer that is kept for a request must fit every field of it.
 */
const DECIDING_FIELDS = {
  model: true,
  system: true,
  messages: true,
  settings: true,
  outputSchema: true,
  tools: true,
  hostedTools: true,
  maxHostedCalls: true,
  toolChoice: true,
  arguments: true,
  strict: true,
  // It routes equal beginnings of prompts to one cache of the vendor.
  cacheKey: false,
} satisfies Record<keyof ModelRequest, boolean>

/**
 * A request as JSON that is equal for equal requests: names in alphabetical order, absent values left out, bytes as
 * base64 under `$bytes`, and numbers in place of the markers of fences, which are hashes of texts that a recording may
 * redact. Where the stable beginning of a message ends is left out, because it only decides what the vendor caches.
 */
export function toCanonicalRequest(request: ModelRequest): { readonly [name: string]: Json } {
  const withNumbers = createMarkerNumbering()
  const messages = request.messages.map((message) => ({ ...message, stableLength: undefined }))
  const fields = Object.entries({ ...request, messages }).filter(([name]) => Reflect.get(DECIDING_FIELDS, name) === true)
  return Object.fromEntries(byName(fields).map(([name, value]) => [name, toCanonicalJson(value, withNumbers) ?? null]))
}

/** SHA-256 of JSON, as 64 hexadecimal digits. */
export const digestOf = (json: Json): string => createHash('sha256').update(JSON.stringify(json)).digest('hex')

const unchanged = (text: string): string => text

/** Any value as JSON with names in alphabetical order; `undefined` for what JSON cannot hold, such as a function. */
export function toCanonicalJson(value: unknown, text: (text: string) => string = unchanged): Json | undefined {
  if (typeof value === 'string') return text(value)
  if (typeof value === 'boolean' || value === null) return value
  if (typeof value === 'number') return Number.isFinite(value) ? value : null
  if (typeof value === 'bigint') return String(value)
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString('base64') }
  if (value instanceof Date) return value.toISOString()
  if (Array.isArray(value)) return value.map((item) => toCanonicalJson(item, text) ?? null)
  if (typeof value !== 'object') return undefined
  const members = byName(Object.entries(value)).flatMap(([name, member]) => {
    const json = toCanonicalJson(member, text)
    return json === undefined ? [] : [[name, json] as const]
  })
  return Object.fromEntries(members)
}

const byName = (entries: readonly [string, unknown][]): readonly [string, unknown][] =>
  [...entries].sort(([a], [b]) => (a < b ? -1 : 1))
