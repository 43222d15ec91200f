import { callFactsOf } from '../../domain/execution/call-facts.ts'
import { ERROR_CODES, type ErrorCode } from '../../errors/error-codes.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/** What the end of a call says about the member that was asked. */
export type Evidence =
  /** It answered, or rejected a request that is at fault itself. */
  | { readonly kind: 'works' }
  /** The call ended for a reason of its own. */
  | { readonly kind: 'nothing' }
  /** It is up and asks for a pause. */
  | { readonly kind: 'pause'; readonly code: ErrorCode; readonly holdMs: number }
  | {
      readonly kind: 'fault'
      readonly code: ErrorCode
      readonly holdMs: number | undefined
      /** Whether every further call would fail likewise. */
      readonly isFatal: boolean
      /** Whether the failed attempt may cost money. */
      readonly isBillable: boolean
    }

export const WORKS: Evidence = { kind: 'works' }
export const NOTHING: Evidence = { kind: 'nothing' }

const FAULTS: ReadonlySet<ErrorCode> = new Set([
  'PROVIDER_UNAVAILABLE',
  'PROVIDER_RATE_LIMITED',
  'PROVIDER_BAD_REPLY',
  'PROVIDER_STREAM_CUT',
])
const FATAL: ReadonlySet<ErrorCode> = new Set(['PROVIDER_AUTH', 'PROVIDER_QUOTA_EXHAUSTED'])
/** Answers to requests that are at fault themselves, and answers that cannot be used. */
const ABOUT_THE_REQUEST: ReadonlySet<ErrorCode> = new Set(['PROVIDER_REJECTED', 'CONTENT_FILTERED', 'OUTPUT_INVALID'])

const NOT_FOUND = 404

/** The address or the model does not exist: every request to this member fails, whatever it asks for. */
const isUnknownModel = (error: OrchestratorError): boolean =>
  error.code === 'PROVIDER_REJECTED' && callFactsOf(error).status === NOT_FOUND

/** What an error of a member says about it. */
export function toEvidence(error: unknown): Evidence {
  if (!OrchestratorError.is(error)) return NOTHING
  const { code, details } = error
  // A service does not run, which its standing says better than any call.
  if (details.notSent === true) return NOTHING
  const { retryAfterMs: holdMs } = callFactsOf(error)
  // Nothing was sent: a circuit is open, its own members cannot be asked, or too many calls wait for its rates.
  const isRefused = details.circuit === 'open' || details.noMember === true || details.queue === 'full'
  if (isRefused || (code === 'PROVIDER_RATE_LIMITED' && holdMs !== undefined)) {
    return holdMs === undefined ? NOTHING : { kind: 'pause', code, holdMs }
  }
  const isFatal = FATAL.has(code)
  if (isFatal || FAULTS.has(code) || isUnknownModel(error)) {
    return { kind: 'fault', code, holdMs, isFatal, isBillable: ERROR_CODES[code].mayBeBilled === true }
  }
  return ABOUT_THE_REQUEST.has(code) ? WORKS : NOTHING
}

/** A provider that gave no answer in the time of its call, or in the share of the time that the call had for it. */
export const SILENT: Evidence = {
  kind: 'fault',
  code: 'PROVIDER_UNAVAILABLE',
  holdMs: undefined,
  isFatal: false,
  isBillable: true,
}

/**
 * Whether another member is asked after an error. Not for an answer that was generated and cannot be used: another one
 * is paid as well, which only the fallbacks of the step may decide. Other keys of the same model would reject the same
 * request likewise.
 */
export function mayAskAnother(error: unknown, { sameModel }: { readonly sameModel: boolean }): error is OrchestratorError {
  if (!OrchestratorError.is(error)) return false
  if (error.code === 'CONTENT_FILTERED' || error.code === 'OUTPUT_INVALID') return false
  if (sameModel && error.code === 'PROVIDER_REJECTED') return isUnknownModel(error)
  return ERROR_CODES[error.code].fallsBack === true
}
