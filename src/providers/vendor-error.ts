import { type CallFacts, withCallFacts } from '../domain/call-facts.ts'
import type { ErrorCode } from '../errors/error-codes.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { listOf, recordOf, textOf } from './foreign-json.ts'
import { retryAfterMs } from './retry-after.ts'

/** What is known of the attempt besides the failure itself. */
export interface AttemptState extends Partial<Pick<CallFacts, 'usage' | 'model' | 'generated'>> {
  /** Id of the provider, as steps name it. */
  readonly provider: string
  /** Texts of the request: a vendor message that repeats a part of one is not passed on. */
  readonly privateTexts?: readonly string[]
  /** Keys and headers of the account: they are cut out of a vendor's message. */
  readonly secrets?: readonly string[]
}

/** A vendor's own words about a failure: an HTTP answer that is no success, or an error inside a 200. */
export interface VendorFailure extends AttemptState {
  /** HTTP status; leave it out for an error inside a 200. */
  readonly status?: number
  readonly headers?: { get(name: string): string | null }
  /** Parsed JSON of the answer, the text where it is no JSON, or the `error` object inside it. */
  readonly body?: unknown
  readonly cause?: unknown
  /** Milliseconds since the epoch; for `retry-after` as a date. */
  readonly nowMs?: number
}

/** Any failure a vendor reports, as an error of ours with its call facts; adapters of all vendors use it. */
export function toVendorError(failure: VendorFailure): OrchestratorError {
  const said = toVendorWords(failure.body)
  const code = toErrorCode(failure.status, said)
  const status = failure.status ?? said.status
  const message = safeMessage(said.message, failure)
  const waitMs = retryAfterMs(failure.headers, failure.body, failure.nowMs ?? Date.now())
  const heading = failure.status === undefined ? 'reported an error inside its answer' : `answered with status ${failure.status}`
  const error = new OrchestratorError(code, `Provider "${failure.provider}" ${heading}${message ? `: ${message}` : ''}`, {
    details: {
      provider: failure.provider,
      ...(status !== undefined && { status }),
      ...(said.code !== undefined && { vendorCode: safeMessage(said.code, failure) }),
      ...(said.type !== undefined && { vendorType: safeMessage(said.type, failure) }),
      ...(waitMs !== undefined && { retryAfterMs: waitMs }),
    },
    cause: failure.cause,
  })
  return withCallFacts(error, {
    retryAfterMs: waitMs,
    status,
    usage: failure.usage,
    model: failure.model,
    generated: failure.generated ?? false,
  })
}

/** The connection failed: refused, reset, no such host. `networkCode` is Node's or undici's, found along the causes. */
export function toConnectionError(cause: unknown, state: AttemptState): OrchestratorError {
  const networkCode = networkCodeOf(cause)
  return withState(
    new OrchestratorError(
      'PROVIDER_UNAVAILABLE',
      `Connection to provider "${state.provider}" failed${networkCode ? ` (${networkCode})` : ''}`,
      {
        details: { provider: state.provider, ...(networkCode && { networkCode }) },
        cause,
        retryable: !(networkCode && /CERT|SELF_SIGNED|ERR_TLS|ERR_INVALID_URL/.test(networkCode)),
      },
    ),
    state,
  )
}

/** The stream ended or broke before the mark that closes an answer. */
export function toStreamCut(expectedMark: string, state: AttemptState, cause?: unknown): OrchestratorError {
  const message = `Stream of provider "${state.provider}" ended before ${expectedMark}`
  return withState(new OrchestratorError('PROVIDER_STREAM_CUT', message, { details: { provider: state.provider }, cause }), state)
}

/** What arrived with a success status is no answer. `found` describes its shape, never its content. */
export function toBadReply(found: string, state: AttemptState): OrchestratorError {
  const message = `Provider "${state.provider}" sent ${found} where an answer of its protocol was expected`
  return withState(new OrchestratorError('PROVIDER_BAD_REPLY', message, { details: { provider: state.provider } }), state)
}

/** The prompt was refused, and there is no answer at all. */
export function toContentFiltered(reason: string, state: AttemptState): OrchestratorError {
  const message = `Provider "${state.provider}" refused the prompt (${safeMessage(reason, state)})`
  return withState(new OrchestratorError('CONTENT_FILTERED', message, { details: { provider: state.provider } }), state)
}

const withState = (error: OrchestratorError, { usage, model, generated = false }: AttemptState) =>
  withCallFacts(error, { usage, model, generated })

interface VendorWords {
  readonly message?: string
  readonly code?: string
  readonly type?: string
  /** Status the body names itself, where it does. */
  readonly status?: number
  /** Reasons in Google's `details`, e.g. `API_KEY_INVALID`. */
  readonly reasons: readonly string[]
  /** OpenRouter names what its moderation found. */
  readonly moderated: boolean
}

/**
 * Reads the error shapes of the vendors: `{ error: { message, type, code } }` (OpenAI, Anthropic, Groq), `{ error: 'text', code }` (xAI, Ollama),
 * `{ message, type, code }` (Mistral), `[{ error: { code, status, details } }]` (Google), `{ detail }` (FastAPI servers).
 */
function toVendorWords(body: unknown): VendorWords {
  const outer = recordOf(Array.isArray(body) ? body[0] : body)
  const inner = typeof outer.error === 'object' && outer.error !== null ? recordOf(outer.error) : outer
  const message =
    textOf(inner.message) ??
    textOf(inner.error) ??
    textOf(outer.message) ??
    textOf(inner.detail) ??
    (typeof body === 'string' && !body.trimStart().startsWith('<') ? body : undefined)
  const code = wordOf(inner.code) ?? wordOf(outer.code)
  const type = textOf(inner.status) ?? wordOf(inner.type)
  const details = listOf(inner.details)
  const status = [inner.status_code, inner.code, inner.status, outer.statusCode, outer.status]
    .map(statusOf)
    .find((found) => found !== undefined)
  return {
    message,
    code,
    type,
    status,
    reasons: details.map((detail) => textOf(recordOf(detail).reason)).filter((reason) => reason !== undefined),
    moderated: Array.isArray(recordOf(inner.metadata).reasons),
  }
}

const QUOTA =
  /^(insufficient_quota|insufficient_user_quota|insufficient_balance|billing_(error|hard_limit_reached|not_active)|quota_exceeded)$/i
const FILTERED =
  /^(content_filter|content_policy_violation|responsible_ai_policy_violation|data_inspection_failed|invalid_prompt|moderation_blocked|sensitive)$/i

/** Error words of the vendors that come without a status of their own, by the status they stand for. */
const STATUS_WORDS: readonly (readonly [RegExp, number])[] = [
  [/^(authentication_error|unauthenticated|invalid_api_key|api_key_invalid)$/i, 401],
  [/^(permission_error|permission_denied)$/i, 403],
  [/^(not_found_error|not_found|model_not_found)$/i, 404],
  [/^(rate_?limit.*|resource_exhausted|too_many_requests|tokens|requests)$/i, 429],
  [/^(overloaded.*)$/i, 529],
  [/^(timeout_error|deadline_exceeded|request_timeout)$/i, 504],
  [/^(server_error|internal.*|api_error|unavailable|service_?unavailable.*|upstream.*|bad_gateway)$/i, 503],
  [/^(invalid_?request.*|invalid_argument|failed_precondition|context_length_exceeded|badrequest.*|validation_error)$/i, 400],
]

function toErrorCode(httpStatus: number | undefined, said: VendorWords): ErrorCode {
  const words = [said.code, said.type].filter((word) => word !== undefined)
  const status = httpStatus ?? said.status ?? statusOfWords(words)
  if (status === 402 || (status !== 401 && words.some((word) => QUOTA.test(word)))) return 'PROVIDER_QUOTA_EXHAUSTED'
  if (said.moderated || words.some((word) => FILTERED.test(word))) return 'CONTENT_FILTERED'
  if (status === 401 || status === 403 || said.reasons.some((reason) => reason.startsWith('API_KEY_'))) return 'PROVIDER_AUTH'
  if (status === 429) return 'PROVIDER_RATE_LIMITED'
  // Without a status and a known word nothing says that the request is at fault, so a further try is sensible.
  if (status === undefined || status === 408 || status === 409 || status === 425 || status >= 500) return 'PROVIDER_UNAVAILABLE'
  return 'PROVIDER_REJECTED'
}

const statusOfWords = (words: readonly string[]): number | undefined =>
  STATUS_WORDS.find(([pattern]) => words.some((word) => pattern.test(word)))?.[1]

const KEY_SHAPES =
  /\b(sk|pk|rk|gsk|xai|key|r8|hf|AIza)[-_][A-Za-z0-9*_-]{4,}|\bAIza[\w-]{8,}|\bBearer\s+\S+|[\w-]*\*{3,}[\w-]*|\b[A-Za-z0-9_-]{40,}\b/gi
const REDACTED = '[redacted]'
const MAX_MESSAGE = 300
/** Any part of a request of 36 characters or more that a message repeats holds one aligned piece of 24. */
const PIECE = 24
const PIECE_STEP = 12

type Hidden = Pick<AttemptState, 'privateTexts' | 'secrets'>

/** A vendor's message without keys, without text of the request, cut to 300 characters on one line. */
function safeMessage(message: string | undefined, { privateTexts = [], secrets = [] }: Hidden): string | undefined {
  if (!message) return undefined
  const seen = secrets.reduce((text, secret) => text.replaceAll(secret, REDACTED), message).slice(0, MAX_MESSAGE * 2)
  if (repeats(seen, privateTexts)) return '(message withheld: it repeats the request)'
  const line = seen.replace(/\s+/g, ' ').replace(KEY_SHAPES, REDACTED).trim()
  return line.length > MAX_MESSAGE ? `${line.slice(0, MAX_MESSAGE)}…` : line
}

function repeats(message: string, privateTexts: readonly string[]): boolean {
  for (const text of privateTexts) {
    if (text.length >= 8 && text.length <= message.length && message.includes(text)) return true
    for (let start = 0; start + PIECE <= message.length; start += PIECE_STEP) {
      if (text.includes(message.slice(start, start + PIECE))) return true
    }
  }
  return false
}

/** Node's or undici's code of a failed connection, e.g. `ECONNRESET`; undefined for other errors. */
export function networkCodeOf(cause: unknown): string | undefined {
  let found: unknown = cause
  for (let depth = 0; depth < 5 && typeof found === 'object' && found !== null; depth++) {
    const code = textOf(recordOf(found).code)
    if (code) return code
    found = 'cause' in found ? found.cause : undefined
  }
  return undefined
}

const wordOf = (value: unknown): string | undefined => textOf(value) ?? (typeof value === 'number' ? String(value) : undefined)

function statusOf(value: unknown): number | undefined {
  const status = typeof value === 'string' && /^[345]\d\d$/.test(value) ? Number(value) : value
  return typeof status === 'number' && Number.isInteger(status) && status >= 300 && status <= 599 ? status : undefined
}
