import { ERROR_CODES, type ErrorCode } from '../../errors/error-codes.ts'
import type { OrchestratorError } from '../../errors/orchestrator-error.ts'

/**
 * One day, because a vendor may name any wait, and some clients wait for `Retry-After` without a limit of their own.
 */
const MAX_WAIT_SECONDS = 86_400

/** Seconds of the `Retry-After` header: the wait that a vendor named, rounded up, or that of the error table. */
export function findRetryAfter({ code, details }: Pick<OrchestratorError, 'code' | 'details'>): number | undefined {
  const { retryAfterMs } = details
  if (typeof retryAfterMs !== 'number' || !Number.isFinite(retryAfterMs)) return ERROR_CODES[code].retryAfterSeconds
  return Math.min(MAX_WAIT_SECONDS, Math.max(1, Math.ceil(retryAfterMs / 1_000)))
}

const HEADERS_OF_DETAILS = { allow: 'allow', accept: 'accept', acceptEncoding: 'accept-encoding' } as const

/** Headers of an error in every format (RFC 9110, sections 10.2, 12.5 and 15.5). */
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

/** Codes whose `details` the server itself has written. Those of others may hold values of a vendor or a caller. */
const OWN_CODES: readonly ErrorCode[] = ['METHOD_NOT_ALLOWED', 'MEDIA_TYPE_UNSUPPORTED']
