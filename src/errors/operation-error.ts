// Global, so that two copies of the package in one process recognise each other's errors.
const brand = Symbol.for('polyphony.OperationError')

export interface OperationErrorOptions {
  readonly cause?: unknown
  /** Whether the same call may succeed later. Only idempotent functions are called again. Default true. */
  readonly retryable?: boolean
}

/**
 * Thrown by a function to end its call with a message that users and models may see. The message must not hold secrets.
 *
 * ```ts
 * import { OperationError } from 'polyphony'
 *
 * throw new OperationError('no article has the number 4711', { retryable: false })
 * ```
 */
export class OperationError extends Error {
  readonly retryable: boolean
  readonly [brand] = true

  constructor(message: string, { cause, retryable = true }: OperationErrorOptions = {}) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'OperationError'
    this.retryable = retryable
  }

  static is(error: unknown): error is OperationError {
    return typeof error === 'object' && error !== null && brand in error
  }
}
