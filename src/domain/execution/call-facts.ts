import type { ModelResponse } from './model-call.ts'
import type { Usage } from './usage.ts'

/** Facts about a failed attempt that only the adapter knows, for the ledger and for retries. */
export interface CallFacts {
  /** Milliseconds that the provider asked to wait, without a limit. */
  readonly retryAfterMs?: number
  /** HTTP status, where there was an answer. */
  readonly status?: number
  /** Usage reported before the failure. */
  readonly usage?: Usage
  /** The model that began to answer. */
  readonly model?: string
  /** The complete response, where it is unusable as an answer: empty, refused or cut. */
  readonly answer?: ModelResponse
  /** Whether the provider had begun to answer, so tokens are likely billed. */
  readonly generated: boolean
}

// The facts are kept beside the error, because error objects reach users.
const facts = new WeakMap<object, CallFacts>()

export function withCallFacts<E extends object>(error: E, known: CallFacts): E {
  facts.set(error, known)
  return error
}

export const callFactsOf = (error: unknown): CallFacts =>
  (typeof error === 'object' && error !== null ? facts.get(error) : undefined) ?? { generated: false }
