import type { ModelResponse } from './model-call.ts'
import type { Usage } from './usage.ts'

/** Facts an adapter knows about an attempt that failed, for the ledger and the retry layer. */
export interface CallFacts {
  /** Milliseconds the provider asked to wait, uncapped. */
  readonly retryAfterMs?: number
  /** HTTP status, where there was an answer. */
  readonly status?: number
  /** Usage reported before the failure. */
  readonly usage?: Usage
  /** The model that had begun to answer. */
  readonly model?: string
  /** The whole answer, where one arrived that is no answer: empty, refused or cut. */
  readonly answer?: ModelResponse
  /** The provider had begun to answer, so tokens are likely billed. */
  readonly generated: boolean
}

// Kept beside the error, not on it: error objects reach users, these facts are for the ledger.
const facts = new WeakMap<object, CallFacts>()

export function withCallFacts<E extends object>(error: E, known: CallFacts): E {
  facts.set(error, known)
  return error
}

export const callFactsOf = (error: unknown): CallFacts =>
  (typeof error === 'object' && error !== null ? facts.get(error) : undefined) ?? { generated: false }
