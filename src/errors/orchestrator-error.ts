import type { ErrorCodeFacts } from './error-code-facts.ts'
import { ERROR_CODES, type ErrorCode } from './error-codes.ts'

/** A plain, JSON-safe form of an error, as stored with steps and flows and sent to clients. */
export interface ErrorInfo {
  readonly code: ErrorCode
  readonly message: string
  readonly retryable: boolean
  readonly details: Readonly<Record<string, unknown>>
}

export interface OrchestratorErrorOptions {
  /** JSON-safe facts that may be shown to the caller: ids, paths, rules; never prompts, keys or answers. */
  readonly details?: Readonly<Record<string, unknown>>
  readonly cause?: unknown
  /** Overrides the error table, for codes that cover both kinds (such as a 5xx response and a refused connection). */
  readonly retryable?: boolean
}

// Global, so that two copies of the package in one process recognise each other's errors.
const brand = Symbol.for('polyphony.OrchestratorError')

/**
 * The only error class that leaves Polyphony. Decide on `code`, never on `message`.
 *
 * ```ts
 * import { OrchestratorError } from 'polyphony'
 *
 * if (OrchestratorError.is(error) && error.code === 'LIMIT_EXCEEDED') console.log(error.details)
 * ```
 */
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

  /** The row of the error table. */
  get facts(): ErrorCodeFacts {
    return ERROR_CODES[this.code]
  }

  toJSON(): ErrorInfo {
    return { code: this.code, message: this.message, retryable: this.retryable, details: this.details }
  }

  /** Use this instead of `instanceof`, which fails for errors of another copy of the package. */
  static is(error: unknown): error is OrchestratorError {
    return typeof error === 'object' && error !== null && brand in error
  }

  /** Returns an OrchestratorError unchanged; wraps any other thrown value in one with `code`, as its cause. */
  static from(error: unknown, code: ErrorCode = 'INTERNAL', details?: Readonly<Record<string, unknown>>): OrchestratorError {
    if (OrchestratorError.is(error)) return error
    const message = error instanceof Error ? error.message : String(error)
    return new OrchestratorError(code, message, { cause: error, details })
  }

  /** A copy of this error with further details. Existing details are kept. */
  with(details: Readonly<Record<string, unknown>>): OrchestratorError {
    return new OrchestratorError(this.code, this.message, {
      details: { ...details, ...this.details },
      cause: this.cause,
      retryable: this.retryable,
    })
  }
}
