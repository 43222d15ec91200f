import type { ErrorCode } from '../errors/error-codes.ts'

/**
 * Codes of errors that do not come from a Polyphony server. `NETWORK`: no answer, or an incomplete one. `BAD_ANSWER`:
 * an answer of something else, such as the page of a proxy. `TIMEOUT`: a wait is over, and its work continues. A call
 * that the client refuses to send is `INPUT_INVALID`, without a status.
 */
export type ClientErrorCode = 'NETWORK' | 'BAD_ANSWER' | 'TIMEOUT'

/** Code of an error. A server that is newer than the client may send codes that are not listed here. */
export type PolyphonyErrorCode = ErrorCode | ClientErrorCode | (string & Record<never, never>)

export interface PolyphonyErrorFacts {
  /** HTTP status of the answer; absent if there was no answer. */
  readonly status?: number
  /** JSON Pointer to the first wrong value in the request. */
  readonly pointer?: string
  /** All wrong values in the request. */
  readonly errors?: readonly { readonly pointer: string; readonly detail: string }[]
  readonly remedy?: string
  /** Default false. */
  readonly retryable?: boolean
  /** Milliseconds that the server asks to wait before the next attempt. */
  readonly retryAfterMs?: number
  /** Id of the request in the log of the server. */
  readonly requestId?: string
  readonly details?: Readonly<Record<string, unknown>>
  readonly cause?: unknown
}

// Two copies of the client in one page must still recognise each other's errors.
const brand = Symbol.for('polyphony.PolyphonyError')

/**
 * The error of every call that fails; only an aborted call rejects with the reason of its signal instead. Decide on
 * `code`, never on `message`.
 *
 * ```ts
 * import { PolyphonyError } from 'polyphony/client'
 *
 * if (PolyphonyError.is(error) && error.code === 'FLOW_NOT_FOUND') console.log(error.remedy)
 * ```
 */
export class PolyphonyError extends Error {
  readonly code: PolyphonyErrorCode
  /** Description of the error; equal to `message`. */
  readonly detail: string
  readonly status: number | undefined
  readonly pointer: string | undefined
  readonly errors: readonly { readonly pointer: string; readonly detail: string }[]
  /** How to correct or avoid the error. */
  readonly remedy: string
  /** Whether the same request may succeed later. */
  readonly retryable: boolean
  readonly retryAfterMs: number | undefined
  readonly requestId: string | undefined
  readonly details: Readonly<Record<string, unknown>>
  readonly [brand] = true

  constructor(code: PolyphonyErrorCode, detail: string, facts: PolyphonyErrorFacts = {}) {
    super(detail, facts.cause === undefined ? undefined : { cause: facts.cause })
    this.name = 'PolyphonyError'
    this.code = code
    this.detail = detail
    this.status = facts.status
    this.pointer = facts.pointer
    this.errors = facts.errors ?? []
    this.remedy = facts.remedy ?? REMEDIES[code] ?? ''
    this.retryable = facts.retryable ?? false
    this.retryAfterMs = facts.retryAfterMs
    this.requestId = facts.requestId
    this.details = facts.details ?? {}
  }

  /** Whether a value is a PolyphonyError, even one from another copy of the client. */
  static is(error: unknown): error is PolyphonyError {
    return typeof error === 'object' && error !== null && brand in error
  }
}

const REMEDIES: Readonly<Record<string, string>> = {
  NETWORK: 'Check that the server is running, that `baseUrl` is its address, and that it can be reached.',
  BAD_ANSWER: 'Check that `baseUrl` is the address of a Polyphony server, and check any proxy in front of it.',
  TIMEOUT: 'Wait longer, or read the status later: the work continues.',
  INPUT_INVALID: 'Correct the argument that the message names.',
}

/** No answer, or an incomplete one. Retryable. */
export const networkError = (detail: string, cause?: unknown): PolyphonyError =>
  new PolyphonyError('NETWORK', detail, { retryable: true, cause })

/** A call that the client refuses to send. */
export const inputError = (detail: string, facts?: PolyphonyErrorFacts): PolyphonyError =>
  new PolyphonyError('INPUT_INVALID', detail, facts)
