import type { ErrorCode } from '../../errors/error-codes.ts'
import type { OrchestratorError } from '../../errors/orchestrator-error.ts'

/** Seconds after which a client should send the request again, for errors that do not state it themselves. */
const DEFAULT_RETRY_AFTER_SECONDS: Partial<Readonly<Record<ErrorCode, number>>> = {
  RATE_LIMITED: 1,
  SERVER_CLOSING: 1,
  DATABASE_LOCKED: 5,
  DATABASE_UNAVAILABLE: 5,
}
/** A day. Clients without a limit of their own would otherwise wait as long as a vendor states. */
const MAX_RETRY_AFTER_SECONDS = 86_400

/** Whole seconds of a `Retry-After` header: the value of the vendor, rounded up; undefined when nothing is known. */
export function findRetryAfter({ code, details }: Pick<OrchestratorError, 'code' | 'details'>): number | undefined {
  const { retryAfterMs } = details
  if (typeof retryAfterMs !== 'number' || !Number.isFinite(retryAfterMs)) return DEFAULT_RETRY_AFTER_SECONDS[code]
  return Math.min(MAX_RETRY_AFTER_SECONDS, Math.max(1, Math.ceil(retryAfterMs / 1_000)))
}

const HEADERS_OF_DETAILS = { allow: 'allow', accept: 'accept', acceptEncoding: 'accept-encoding' } as const

/** Headers of an error that do not depend on the form of its body (RFC 9110, 10.2, 12.5 and 15.5). */
export function toErrorHeaders(error: Pick<OrchestratorError, 'code' | 'details'>): Readonly<Record<string, string>> {
  const headers: Record<string, string> = {}
  for (const [detail, name] of Object.entries(HEADERS_OF_DETAILS)) {
    const value = error.details[detail]
    if (OWN_CODES.includes(error.code) && typeof value === 'string') headers[name] = value
  }
  if (error.code === 'UNAUTHENTICATED') headers['www-authenticate'] = 'Bearer'
  const seconds = findRetryAfter(error)
  if (seconds !== undefined) headers['retry-after'] = String(seconds)
  return headers
}

/** Codes whose details the server itself wrote, so that they are safe to send as headers. */
const OWN_CODES: readonly ErrorCode[] = ['METHOD_NOT_ALLOWED', 'MEDIA_TYPE_UNSUPPORTED']
