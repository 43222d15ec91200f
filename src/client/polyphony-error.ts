import type { ErrorCode } from '../errors/error-codes.ts'

/**
 * Errors that no server told. `NETWORK`: no answer, or one that was cut. `BAD_ANSWER`: an answer that is not Polyphony's, a proxy's page say.
 * What the client itself refuses to send is `INPUT_INVALID`, without a status.
 */
export type ClientErrorCode = 'NETWORK' | 'BAD_ANSWER'

/** A server that is newer than this client may tell codes that it does not list. */
export type PolyphonyErrorCode = ErrorCode | ClientErrorCode | (string & Record<never, never>)

export interface PolyphonyErrorFacts {
  /** Status of the answer; absent where there was none. */
  readonly status?: number
  /** JSON Pointer of the first place in the request that is wrong. */
  readonly pointer?: string
  /** Every place that is wrong. */
  readonly errors?: readonly { readonly pointer: string; readonly detail: string }[]
  readonly remedy?: string
  /** Default false. */
  readonly retryable?: boolean
  /** Milliseconds that the server asked to wait. */
  readonly retryAfterMs?: number
  /** Finds the request in the server's log. */
  readonly requestId?: string
  readonly details?: Readonly<Record<string, unknown>>
  readonly cause?: unknown
}

// Two copies of the client in one page must still recognise each other's errors.
const brand = Symbol.for('polyphony.PolyphonyError')

/** The only error that the client throws, but for the reason of an abort. Decide on `code`, never on `message`. */
export class PolyphonyError extends Error {
  readonly code: PolyphonyErrorCode
  /** What happened, in words; the same as `message`. */
  readonly detail: string
  readonly status: number | undefined
  readonly pointer: string | undefined
  readonly errors: readonly { readonly pointer: string; readonly detail: string }[]
  /** What can be done about it. */
  readonly remedy: string
  /** The same request may succeed later without a change. */
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

  static is(error: unknown): error is PolyphonyError {
    return typeof error === 'object' && error !== null && brand in error
  }
}

const REMEDIES: Readonly<Record<string, string>> = {
  NETWORK: 'Check that the server runs, that `baseUrl` is its address, and the connection to it.',
  BAD_ANSWER: 'Check that `baseUrl` is the address of a Polyphony server, and what stands between it and you.',
  INPUT_INVALID: 'Correct the argument that the message names.',
}

/** No answer, or one that was cut. The same request may succeed later. */
export const networkError = (detail: string, cause?: unknown): PolyphonyError =>
  new PolyphonyError('NETWORK', detail, { retryable: true, cause })

/** What the client does not send. */
export const inputError = (detail: string, facts?: PolyphonyErrorFacts): PolyphonyError =>
  new PolyphonyError('INPUT_INVALID', detail, facts)
