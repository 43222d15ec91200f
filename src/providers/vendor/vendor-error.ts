import { type CallFacts, withCallFacts } from '../../domain/execution/call-facts.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { recordOf, textOf } from './foreign-json.ts'
import { retryAfterMs } from './retry-after.ts'
import { toFaultCode, toRefusedParameter } from './vendor-faults.ts'
import { toVendorWords, type VendorWords } from './vendor-words.ts'

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

/**
 * Any failure a vendor reports, as an error of ours with its call facts; adapters of all vendors use it. `details.refusedParameter` names the
 * field of the request that the server does not take, `details.useInstead` the one it asks for.
 */
export function toVendorError(failure: VendorFailure): OrchestratorError {
  const said = withHeaderKind(toVendorWords(failure.body), failure.headers)
  const code = toFaultCode(failure.status, said)
  const status = failure.status ?? said.status
  const heading = failure.status === undefined ? 'reported an error inside its answer' : `answered with status ${failure.status}`
  // Each by itself: a gateway's own message must not vanish because the one behind it repeats the request.
  const words = [safeMessage(said.message, failure), safeMessage(said.upstream, failure)].filter((part) => part !== undefined)
  const refused = code === 'PROVIDER_REJECTED' ? toRefusedParameter(status, said) : undefined
  const waitMs = retryAfterMs(failure.headers, failure.body, failure.nowMs ?? Date.now())
  const error = new OrchestratorError(code, [`Provider "${failure.provider}" ${heading}`, ...words].join(': '), {
    details: {
      provider: failure.provider,
      ...(status !== undefined && { status }),
      // For whoever passes the error on: the server's own Retry-After comes from here.
      ...(waitMs !== undefined && { retryAfterMs: waitMs }),
      ...(said.code !== undefined && { vendorCode: safeMessage(said.code, failure) }),
      ...(said.type !== undefined && { vendorType: safeMessage(said.type, failure) }),
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

/** AWS names the kind of a failure in a header. */
function withHeaderKind(said: VendorWords, headers: VendorFailure['headers']): VendorWords {
  const kind = headers?.get('x-amzn-errortype')?.replace(/:.*$/, '')
  return kind ? { ...said, kinds: [...said.kinds, kind] } : said
}

/**
 * The connection failed: refused, reset, no such host. `networkCode` is Node's or undici's, found along the causes, as is the proxy that it went
 * over. A cause that says more, such as headers that could not be made, is returned as it is.
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

const KEY_SHAPES =
  /\b(sk|pk|rk|gsk|xai|key|r8|hf|AIza)[-_][A-Za-z0-9*_-]{4,}|\bAIza[\w-]{8,}|\bBearer\s+\S+|[\w-]*\*{3,}[\w-]*|\b[A-Za-z0-9_-]{40,}\b/gi
const REDACTED = '[redacted]'
const MAX_MESSAGE = 300
/** Any part of a request of 36 characters or more that a message repeats holds one aligned chunk of 24. */
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

/** Where the proxy of a failed connection is, without credentials. */
const proxyOf = (cause: unknown): string | undefined => {
  const { proxy, cause: inner } = recordOf(cause)
  return textOf(proxy) ?? textOf(recordOf(inner).proxy)
}
