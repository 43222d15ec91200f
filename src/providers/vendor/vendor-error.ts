import { type CallFacts, withCallFacts } from '../../domain/execution/call-facts.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { recordOf, textOf } from './foreign-json.ts'
import { retryAfterMs } from './retry-after.ts'
import { toFaultCode, toRefusedParameter } from './vendor-faults.ts'
import { toVendorWords, type VendorWords } from './vendor-words.ts'

/** Facts of an attempt besides its failure. */
export interface AttemptState extends Partial<Pick<CallFacts, 'usage' | 'model' | 'generated'>> {
  /** Id of the provider. */
  readonly provider: string
  /** Texts of the request. A vendor's message that repeats a part of one is withheld. */
  readonly privateTexts?: readonly string[]
  /** Keys and header values of the account. They are redacted in a vendor's message. */
  readonly secrets?: readonly string[]
}

/** A failure reported by a vendor: an HTTP error response, or an error inside a 200. */
export interface VendorFailure extends AttemptState {
  /** HTTP status. Absent for an error inside a 200. */
  readonly status?: number
  readonly headers?: { get(name: string): string | null }
  /** Parsed JSON of the response, its text if it is not JSON, or the `error` object inside it. */
  readonly body?: unknown
  readonly cause?: unknown
  /** Milliseconds since the epoch, for `retry-after` as a date. Default: now. */
  readonly nowMs?: number
}

/**
 * Converts a failure of any vendor to an OrchestratorError with call facts. `details.refusedParameter` names the
 * request field that the server rejects, `details.useInstead` the one it asks for.
 */
export function toVendorError(failure: VendorFailure): OrchestratorError {
  const vendorWords = withHeaderKind(toVendorWords(failure.body), failure.headers)
  const code = toFaultCode(failure.status, vendorWords)
  const status = failure.status ?? vendorWords.status
  const heading = failure.status === undefined ? 'reported an error inside its answer' : `answered with status ${failure.status}`
  // Checked separately: the gateway's message must not be withheld because the message it wraps repeats the request.
  const words = [safeMessage(vendorWords.message, failure), safeMessage(vendorWords.upstream, failure)].filter(
    (part) => part !== undefined,
  )
  const refused = code === 'PROVIDER_REJECTED' ? toRefusedParameter(status, vendorWords) : undefined
  const waitMs = retryAfterMs(failure.headers, failure.body, failure.nowMs ?? Date.now())
  const error = new OrchestratorError(code, [`Provider "${failure.provider}" ${heading}`, ...words].join(': '), {
    details: {
      provider: failure.provider,
      ...(status !== undefined && { status }),
      // The Retry-After header of our own server is built from this field.
      ...(waitMs !== undefined && { retryAfterMs: waitMs }),
      ...(vendorWords.code !== undefined && { vendorCode: safeMessage(vendorWords.code, failure) }),
      ...(vendorWords.type !== undefined && { vendorType: safeMessage(vendorWords.type, failure) }),
      ...(refused && { refusedParameter: safeMessage(refused.name, failure) }),
      ...(refused?.useInstead && { useInstead: safeMessage(refused.useInstead, failure) }),
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

/** AWS sends the kind of a failure in a header. */
function withHeaderKind(vendorWords: VendorWords, headers: VendorFailure['headers']): VendorWords {
  const kind = headers?.get('x-amzn-errortype')?.replace(/:.*$/, '')
  return kind ? { ...vendorWords, kinds: [...vendorWords.kinds, kind] } : vendorWords
}

/**
 * The error of a failed connection (refused, reset, unknown host). `details.networkCode` is the code of Node or undici
 * in the chain of causes. A cause that is an OrchestratorError, such as a failed headers function, is returned with the
 * facts of the attempt.
 */
export function toConnectionError(cause: unknown, state: AttemptState): OrchestratorError {
  if (OrchestratorError.is(cause)) return withState(cause, state)
  const networkCode = networkCodeOf(cause)
  const proxy = proxyOf(cause)
  return withState(
    new OrchestratorError(
      'PROVIDER_UNAVAILABLE',
      `Connection to provider "${state.provider}"${proxy ? ` over the proxy ${proxy}` : ''} failed${networkCode ? ` (${networkCode})` : ''}`,
      {
        details: { provider: state.provider, ...(networkCode && { networkCode }), ...(proxy && { proxy }) },
        cause,
        retryable: !(networkCode && /CERT|SELF_SIGNED|ERR_TLS|ERR_INVALID_URL|UND_ERR_INVALID_ARG/.test(networkCode)),
      },
    ),
    state,
  )
}

/** The error of a stream that ended or broke before its end mark. */
export function toStreamCut(expectedMark: string, state: AttemptState, cause?: unknown): OrchestratorError {
  const message = `Stream of provider "${state.provider}" ended before ${expectedMark}`
  return withState(new OrchestratorError('PROVIDER_STREAM_CUT', message, { details: { provider: state.provider }, cause }), state)
}

/** The error of a successful response that is not an answer. `found` must describe its shape, never its content. */
export function toBadReply(found: string, state: AttemptState): OrchestratorError {
  const message = `Provider "${state.provider}" sent ${found} where an answer of its protocol was expected`
  return withState(new OrchestratorError('PROVIDER_BAD_REPLY', message, { details: { provider: state.provider } }), state)
}

/** The error of a rejected prompt without an answer. */
export function toContentFiltered(reason: string, state: AttemptState): OrchestratorError {
  const message = `Provider "${state.provider}" refused the prompt (${safeMessage(reason, state)})`
  return withState(new OrchestratorError('CONTENT_FILTERED', message, { details: { provider: state.provider } }), state)
}

const withState = (error: OrchestratorError, { usage, model, generated = false }: AttemptState) =>
  withCallFacts(error, { usage, model, generated })

const KEY_SHAPES =
  /\b(sk|pk|rk|gsk|xai|key|r8|hf|AIza)[-_][A-Za-z0-9*_-]{4,}|\bAIza[\w-]{8,}|\bBearer\s+\S+|[\w-]*\*{3,}[\w-]*|\b[A-Za-z0-9_-]{40,}\b/gi
const REDACTED = '[redacted]'
const MAX_MESSAGE = 300
/** With these figures every repeated passage of at least 35 characters contains one of the compared slices. */
const SLICE_LENGTH = 24
const SLICE_STEP = 12

type Hidden = Pick<AttemptState, 'privateTexts' | 'secrets'>

export const withoutSecrets = (text: string, secrets: readonly string[]): string =>
  secrets.reduce((redacted, secret) => redacted.replaceAll(secret, REDACTED), text)

/** A vendor's message on one line, without keys and text of the request, cut to 300 characters. */
function safeMessage(message: string | undefined, { privateTexts = [], secrets = [] }: Hidden): string | undefined {
  if (!message) return undefined
  const seen = withoutSecrets(message, secrets).slice(0, MAX_MESSAGE * 2)
  if (repeats(seen, privateTexts)) return '(message withheld: it repeats the request)'
  const line = seen.replace(/\s+/g, ' ').replace(KEY_SHAPES, REDACTED).trim()
  return line.length > MAX_MESSAGE ? `${line.slice(0, MAX_MESSAGE)}…` : line
}

function repeats(message: string, privateTexts: readonly string[]): boolean {
  for (const text of privateTexts) {
    if (text.length >= 8 && text.length <= message.length && message.includes(text)) return true
    for (let start = 0; start + SLICE_LENGTH <= message.length; start += SLICE_STEP) {
      if (text.includes(message.slice(start, start + SLICE_LENGTH))) return true
    }
  }
  return false
}

/** Code of Node or undici for a failed connection, such as `ECONNRESET`. Undefined for other errors. */
export function networkCodeOf(cause: unknown): string | undefined {
  let found: unknown = cause
  for (let depth = 0; depth < 5 && typeof found === 'object' && found !== null; depth++) {
    const code = textOf(recordOf(found).code)
    if (code) return code
    found = 'cause' in found ? found.cause : undefined
  }
  return undefined
}

/** Address of the proxy of a failed connection, without credentials. */
const proxyOf = (cause: unknown): string | undefined => {
  const { proxy, cause: inner } = recordOf(cause)
  return textOf(proxy) ?? textOf(recordOf(inner).proxy)
}
