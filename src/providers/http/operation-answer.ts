import type { ModelResponse } from '../../domain/execution/model-call.ts'
import { NO_TOKENS } from '../../domain/execution/usage.ts'

export interface AnswerBody {
  /** Media type with parameters, in lower case; empty if the server sent none. */
  readonly contentType: string
  readonly bytes: Uint8Array
}

/** The result of an operation; or the problem with it. */
export function toOperationAnswer(
  operation: string,
  { contentType, bytes }: AnswerBody,
  pointer: string | undefined,
): ModelResponse | { readonly problem: string } {
  const answer = { finishReason: 'stop', model: operation, usage: NO_TOKENS, notes: [] } as const
  const mediaType = contentType.split(';')[0]?.trim() ?? ''
  if (bytes.length === 0) return pointer ? missing(pointer) : { ...answer, text: '', value: null }
  const isText =
    mediaType === '' || mediaType.startsWith('text/') || /\b(json|xml|javascript|yaml|form-urlencoded)\b/.test(mediaType)
  if (!isText) {
    if (pointer) return { problem: `expected JSON, found ${mediaType}` }
    const value = { mediaType, byteLength: bytes.length }
    return { ...answer, text: JSON.stringify(value), value, files: [{ mediaType, data: bytes }] }
  }
  const text = decode(bytes, contentType)
  const json = /\bjson\b/.test(mediaType) || mediaType === '' || pointer ? parseJson(text) : undefined
  if (json === undefined) {
    if (pointer || /\bjson\b/.test(mediaType)) return { problem: `expected JSON, found ${bytes.length} bytes of other text` }
    return { ...answer, text, value: text }
  }
  const value = pointer ? valueAt(json.value, pointer) : json.value
  if (value === undefined) return missing(pointer ?? '')
  return { ...answer, text: typeof value === 'string' ? value : JSON.stringify(value), value }
}

const missing = (pointer: string) => ({ problem: `expected a value at ${pointer}, found none` })

function decode(bytes: Uint8Array, contentType: string): string {
  const charset = /charset=["']?([\w-]+)/.exec(contentType)?.[1] ?? 'utf-8'
  try {
    return new TextDecoder(charset).decode(bytes)
  } catch {
    return new TextDecoder().decode(bytes)
  }
}

function parseJson(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) }
  } catch {
    return undefined
  }
}

/** The value at a JSON Pointer (RFC 6901); `undefined` where the document has no value. */
function valueAt(root: unknown, pointer: string): unknown {
  let value = root
  for (const part of pointer.split('/').slice(1)) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~')
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined
    value = Reflect.get(value, key)
  }
  return value
}
