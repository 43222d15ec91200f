import { listOf, recordOf, textOf } from './foreign-json.ts'

/** The error body of any vendor in one shape. */
export interface VendorWords {
  readonly message?: string
  /** Message of the service behind a gateway, if the gateway sends it beside its own message. */
  readonly upstream?: string
  readonly code?: string
  readonly type?: string
  /** Every word that names a kind of failure, outermost first. */
  readonly kinds: readonly string[]
  /** HTTP status in the body. */
  readonly status?: number
  /** Name of the invalid request field. */
  readonly parameter?: string
  /** Whether OpenRouter lists reasons of its moderation. */
  readonly moderated: boolean
  /** Generated text that the vendor returned as an error instead of an answer (Groq). */
  readonly failedGeneration?: string
}

/** Maximum nesting of the bodies of gateways. */
const MAX_DEPTH = 4

/**
 * Reads the error bodies of the vendors: `{ error: { message, type, code } }` (OpenAI, Anthropic, Groq), `{ error:
 * 'text', code }` (xAI, Ollama), `{ message, type, code }` (Mistral), `[{ error: { code, status, details } }]`
 * (Google), `{ detail: 'text' or [{ type, loc, msg }] }` (FastAPI), `{ error: { metadata: { raw } } }` (OpenRouter), `{
 * __type, message }` (AWS), `{ base_resp: { status_code, status_msg } }` (MiniMax), `{ errors: [{ code, message }] }`
 * (Cloudflare), `{ error_code, error_msg }` (Baidu), and each of them nested in the `error` of another.
 */
export function toVendorWords(body: unknown, depth = 0): VendorWords {
  const outer = recordOf(Array.isArray(body) ? body[0] : body)
  const inner = toInnerWords(outer)
  const metadata = recordOf(inner.metadata)
  const detail = firstOf(inner.detail ?? recordOf(inner.message).detail ?? outer.detail)
  const own =
    textOf(inner.message) ??
    textOf(inner.error) ??
    textOf(outer.message) ??
    toDetailMessage(detail) ??
    textOf(inner.msg) ??
    textOf(inner.Message) ??
    (typeof body === 'string' && !body.trimStart().startsWith('<') ? body : undefined)
  const nested = depth < MAX_DEPTH ? toNestedWords(metadata.raw ?? metadata.error ?? own ?? inner.message, depth) : undefined
  const isWrapped = nested !== undefined && metadata.raw === undefined && metadata.error === undefined
  const code = wordOf(inner.code) ?? wordOf(outer.code)
  const type = textOf(inner.status) ?? wordOf(inner.type) ?? textOf(inner.__type)?.replace(/^.*#/, '')
  const hidden = recordOf(inner.innererror ?? inner.inner_error)
  const kinds = [code, type, textOf(hidden.code), wordOf(detail.type), ...toReasons(inner), ...(nested?.kinds ?? [])]
  const statuses = [inner.status_code, inner.code, inner.status, outer.statusCode, outer.status, outer.code]
  return {
    message: isWrapped ? (nested.message ?? own) : own,
    upstream: isWrapped ? nested.upstream : toUpstream(metadata, nested, own),
    code,
    type,
    kinds: kinds.filter((kind) => kind !== undefined),
    status: statuses.map(statusOf).find((found) => found !== undefined) ?? nested?.status,
    parameter: textOf(inner.param) ?? textOf(listOf(detail.loc).find((part) => part !== 'body')) ?? nested?.parameter,
    moderated: Array.isArray(metadata.reasons) || (nested?.moderated ?? false),
    failedGeneration: textOf(inner.failed_generation) ?? nested?.failedGeneration,
  }
}

/** The innermost error object: gateways nest the body of another one in their own `error`. */
function toInnerWords(outer: Words): Words {
  let words = outer
  for (let depth = 0; depth < MAX_DEPTH && isObject(words.error); depth++) words = firstOf(words.error)
  return toOwnWords(words)
}

/** Bodies without an `error`: MiniMax sends 200 with a `base_resp`, Cloudflare a list, Baidu other field names. */
function toOwnWords(outer: Words): Words {
  const { status_code: code, status_msg: message } = recordOf(outer.base_resp)
  if (code) return { code: `minimax_${code}`, message }
  if (hasErrorList(outer)) return firstOf(outer.errors)
  return outer.error_msg === undefined ? outer : { code: outer.error_code, message: outer.error_msg }
}

const hasErrorList = ({ errors }: Words): boolean => Array.isArray(errors) && errors.length > 0

/**
 * Whether a body or an event without a part of an answer reports a failure without an `error`: by `detail` (FastAPI), a
 * list of `errors` (Cloudflare), `error_msg` (Baidu), or a text beside a code or a status (Mistral, Zhipu).
 */
export function saysFailure(body: Words): boolean {
  if (body.detail || body.error_msg || hasErrorList(body)) return true
  const text = textOf(body.message) ?? textOf(body.msg)
  return text !== undefined && Boolean(body.code || body.status || body.statusCode)
}

/** A nested body: OpenRouter's `raw`, or a message that is JSON. */
function toNestedWords(raw: unknown, depth: number): VendorWords | undefined {
  if (typeof raw === 'string') {
    const start = raw.search(/[[{]/)
    const parsed = start < 0 ? undefined : parseOrUndefined(raw.slice(start).trim())
    return isObject(parsed) ? toVendorWords(parsed, depth + 1) : undefined
  }
  return isObject(raw) ? toVendorWords(raw, depth + 1) : undefined
}

function toUpstream(
  metadata: Readonly<Record<string, unknown>>,
  nested: VendorWords | undefined,
  own: string | undefined,
): string | undefined {
  const plain = typeof metadata.raw === 'string' && !/^\s*</.test(metadata.raw) ? metadata.raw : undefined
  const reason = nested?.upstream ?? nested?.message ?? plain
  const name = textOf(metadata.provider_name)
  if (!reason || reason === own) return name && `(${name})`
  return name ? `${reason} (${name})` : reason
}

/** FastAPI sends the path of the field separately from the message. */
function toDetailMessage(detail: Readonly<Record<string, unknown>>): string | undefined {
  const message = textOf(detail.msg) ?? textOf(detail.message)
  const field = listOf(detail.loc).filter((part) => part !== 'body')
  return message && field.length > 0 ? `${message}: ${field.join('.')}` : message
}

function firstOf(detail: unknown): Readonly<Record<string, unknown>> {
  if (typeof detail === 'string') return { message: detail }
  return recordOf(Array.isArray(detail) ? detail[0] : detail)
}

/**
 * Google's reasons such as `API_KEY_INVALID`, and ids of its quotas such as `GenerateRequestsPerDayPerProjectPerModel`.
 */
const toReasons = (inner: Readonly<Record<string, unknown>>): readonly (string | undefined)[] =>
  listOf(inner.details)
    .map(recordOf)
    .flatMap(({ reason, violations }) => [
      textOf(reason),
      ...listOf(violations).map((violation) => textOf(recordOf(violation).quotaId)),
    ])

type Words = Readonly<Record<string, unknown>>

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const wordOf = (value: unknown): string | undefined => textOf(value) ?? (typeof value === 'number' ? String(value) : undefined)

function statusOf(value: unknown): number | undefined {
  const status = typeof value === 'string' && /^[345]\d\d$/.test(value) ? Number(value) : value
  return typeof status === 'number' && Number.isInteger(status) && status >= 300 && status <= 599 ? status : undefined
}
