import { ERROR_CODES, type ErrorCode, type ErrorCodeFacts } from './error-codes.ts'

/** A plain, JSON-safe form of an error, as stored with steps and flows and sent to clients. */
export interface ErrorInfo {
  readonly code: ErrorCode
  readonly message: string
  readonly retryable: boolean
  readonly details: Readonly<Record<string, unknown>>
}

export interface OrchestratorErrorOptions {
  /** Facts that are safe to show to the caller: ids, paths, rules; never prompts, keys or answers. */
  readonly details?: Readonly<Record<string, unknown>>
  readonly cause?: unknown
  /** Overrides the table, where one code has both kinds (a 5xx and a refused connection, say). */
  readonly retryable?: boolean
}

// Two copies of the package in one process must still recognise each other's errors.
const brand = Symbol.for('polyphony.OrchestratorError')

/** The only error class that leaves Polyphony. Decide on `code`, never on `message`. */
export class OrchestratorError extends Error {
  readonly code: ErrorCode
  readonly details: Readonly<Record<string, unknown>>
  readonly retryable: boolean
  readonly [brand] = true

  constructor(code: ErrorCode, message: string, options: OrchestratorErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'OrchestratorError'
    this.code = code
    this.details = options.details ?? {}
    this.retryable = options.retryable ?? ERROR_CODES[code].retryable
  }

  get facts(): ErrorCodeFacts {
    return ERROR_CODES[this.code]
  }

  toJSON(): ErrorInfo {
    return { code: this.code, message: this.message, retryable: this.retryable, details: this.details }
  }

  static is(error: unknown): error is OrchestratorError {
    return typeof error === 'object' && error !== null && brand in error
  }

  /** Any thrown value as an OrchestratorError; what is not one already becomes `code` with the value as its cause. */
  static from(error: unknown, code: ErrorCode = 'INTERNAL', details?: Readonly<Record<string, unknown>>): OrchestratorError {
    if (OrchestratorError.is(error)) return error
    const message = error instanceof Error ? error.message : String(error)
    return new OrchestratorError(code, message, { cause: error, details })
  }

  /** The same error with further details; details it already has win. */
  with(details: Readonly<Record<string, unknown>>): OrchestratorError {
    return new OrchestratorError(this.code, this.message, {
      details: { ...details, ...this.details },
      cause: this.cause,
      retryable: this.retryable,
    })
  }
}
