import type { Usage } from '../domain/execution/usage.ts'
import type { OrchestratorError } from '../errors/orchestrator-error.ts'
import { type AttemptState, toConnectionError, toVendorError, type VendorFailure } from './vendor/vendor-error.ts'

/** A failed attempt of a provider of your own, as far as it knows the facts. */
export interface ProviderFailure {
  /** Id of the provider. */
  readonly provider: string
  /** HTTP status of the answer. Without status and body the connection itself has failed. */
  readonly status?: number
  /** Headers of the answer, for the wait that the vendor asks for (`retry-after`, `retry-after-ms`). */
  readonly headers?: { get(name: string): string | null } | Readonly<Record<string, string | undefined>>
  /** Body of the answer: parsed JSON, or its text. An error inside an answer of status 200 has a body and no status. */
  readonly body?: unknown
  /** Tokens that the vendor reported before the failure; they are billed. */
  readonly usage?: Usage
  /** The model that began to answer. */
  readonly model?: string
  /** Whether the vendor had begun to answer, so that it bills the attempt although it reported no usage. */
  readonly generated?: boolean
  /** Texts of the request. A message of the vendor that repeats one is withheld. */
  readonly privateTexts?: readonly string[]
  /** Keys of the account. They are redacted in a message of the vendor. */
  readonly secrets?: readonly string[]
  readonly cause?: unknown
}

/**
 * The error to throw from `generate` of a provider of your own, so that the attempt is retried, waited for and billed
 * as those of the built-in providers are: its code depends on status and body, its facts reach the ledger.
 *
 * ```ts
 * import { providerError } from 'polyphony'
 *
 * const answer = await fetch('http://127.0.0.1:11434/answer', { method: 'POST' })
 * if (!answer.ok) {
 *   const { status, headers } = answer
 *   throw providerError({ provider: 'desk', status, headers, body: await answer.text() })
 * }
 * ```
 */
export function providerError({ headers, body, ...failure }: ProviderFailure): OrchestratorError {
  if (failure.status === undefined && body === undefined) return toConnectionError(failure.cause, toState(failure))
  return toVendorError({ ...failure, headers: toHeaders(headers), body: typeof body === 'string' ? parsed(body) : body })
}

const toState = ({ provider, usage, model, generated }: Omit<ProviderFailure, 'headers' | 'body'>): AttemptState => ({
  provider,
  usage,
  model,
  generated,
})

function toHeaders(headers: ProviderFailure['headers']): VendorFailure['headers'] {
  if (headers === undefined || isReader(headers)) return headers
  const lower = new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
  return { get: (name) => lower.get(name.toLowerCase()) ?? null }
}

const isReader = (
  headers: NonNullable<ProviderFailure['headers']>,
): headers is { readonly get: (name: string) => string | null } => typeof headers.get === 'function'

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
