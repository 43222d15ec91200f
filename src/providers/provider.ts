import type { JsonSchema, ModelRequest, ModelResponse, PricedAnswer } from '../domain/execution/model-call.ts'
import type { Cost, Usage } from '../domain/execution/usage.ts'
import type { CallOrigin } from '../domain/tools/call-origin.ts'

/** Options of one request to a model. */
export interface GenerateOptions {
  /**
   * The provider must close the HTTP request within 100 ms of an abort, even before the first byte and within a body.
   */
  readonly signal: AbortSignal
  /**
   * Receives the text of the answer. If present, the provider must stream and call it synchronously with every chunk,
   * in order. If absent, the provider sends a plain request.
   */
  readonly onDelta?: (text: string) => void
  /**
   * Receives reasoning text that the vendor sends separately from the answer, synchronously and in chunks. Only with
   * `onDelta`.
   */
  readonly onReasoning?: (text: string) => void
  /**
   * Must be called synchronously, before more text, when all text delivered so far turns out to be reasoning. That text
   * is void, and the answer starts again. The reasoning is not repeated to `onReasoning`.
   */
  readonly onVoid?: () => void
  /**
   * Must be called once per chunk that arrives, with or without text (reasoning, pings): it resets the idle timeout.
   */
  readonly onActivity?: () => void
  /** The step for which the request is made. Functions, HTTP operations and MCP tools use it; models do not see it. */
  readonly origin?: CallOrigin
  /** Number of the key to use, from 0, for an account with several keys. */
  readonly account?: number
}

/** A named, typed operation of a provider: a step may run it, and a model may call it as a tool. */
export interface ProviderOperation {
  /** Name within its provider, the `model` of a step that runs it. */
  readonly name: string
  readonly description?: string
  /** JSON Schema of the arguments, an object. */
  readonly input: JsonSchema
  /** JSON Schema of the value of the answer. */
  readonly output?: JsonSchema
  /** Whether a repeated call has no further effect, so that a failed or lost call may be repeated. */
  readonly idempotent: boolean
  /** Whether every call that a model makes needs the approval of a user. */
  readonly approval: boolean
  /** Whether definitions that came over the network may name it. */
  readonly expose: 'code' | 'api'
  /** Problems of arguments against the schema, in words with their paths; empty if they fit. */
  check(given: unknown): readonly string[]
}

/**
 * One configured account at one vendor. Built once and shared by all flows. The call layers call `generate` once per
 * attempt.
 *
 * ```ts
 * import type { Provider } from 'polyphony'
 *
 * const shout: Provider = {
 *   id: 'shout',
 *   kind: 'shout',
 *   vendor: 'shout',
 *   simulated: false,
 *   async generate({ model, messages }, { signal, onDelta }) {
 *     signal.throwIfAborted()
 *     const text = (messages.at(-1)?.content ?? '').toUpperCase()
 *     onDelta?.(text)
 *     return { text, model, finishReason: 'stop', usage: { source: 'unknown' }, notes: [] }
 *   },
 * }
 * ```
 */
export interface Provider {
  /** Id by which steps name the provider: `openai`, or any key of `providers` in the configuration. */
  readonly id: string
  /** Kind of the adapter: `openai`, `anthropic`, `google`, `openai-compatible`, or a name of your own. */
  readonly kind: string
  /** Vendor or preset by which prices are found, e.g. `openai`, `groq`. */
  readonly vendor: string
  /** Whether answers are made in this process, so that texts do not leave it: sharing is allowed as `in_process`. */
  readonly inProcess?: boolean
  /** Whether what the provider receives stays with the operator, as with a service of the operator. */
  readonly inHouse?: boolean
  /** Whether the simulator answers. Simulated answers must never be counted as cost or quality. */
  readonly simulated: boolean
  /** Why the provider cannot be used at this time, as if it were not configured; `undefined` if it can. */
  missing?(): string | undefined
  /**
   * Sends one request and resolves with its answer.
   *
   * - Must not retry: the call layers do. One exception is a request rejected for a parameter name, which may be sent
   * once more without the parameter.
   * - Must not log prompts or keys.
   * - Must resolve only for an answer that ended with the end mark of its protocol.
   * - Must leave out of `usage` every count that the vendor did not send.
   *
   * Rejects with `signal.reason` after an abort, otherwise with an OrchestratorError: PROVIDER_AUTH (401, 403, Gemini's
   * 400 for keys), PROVIDER_RATE_LIMITED (429), PROVIDER_QUOTA_EXHAUSTED (429 or 402 for used-up credit),
   * PROVIDER_UNAVAILABLE (5xx, 408, 529, refused and reset connections), PROVIDER_REJECTED (400, 404, 413, 422 and
   * redirects), PROVIDER_BAD_REPLY (a response that is not an answer of the protocol), PROVIDER_STREAM_CUT (a stream
   * that ended before its end mark), CONTENT_FILTERED (the vendor rejected the prompt without an answer). Adapters
   * attach the known facts of the failed attempt with `withCallFacts` (src/domain/execution/call-facts.ts).
   */
  generate(request: ModelRequest, options: GenerateOptions): Promise<ModelResponse>
  /**
   * Checks cheaply that the vendor is reachable and accepts the key. Called by `polyphony doctor`. Rejects as
   * `generate` does.
   */
  ping?(signal: AbortSignal): Promise<void>
  /**
   * The operations of a provider that answers with functions, HTTP operations or MCP tools. Called per step that names
   * one, so implementations must cache. Rejects as `generate` does.
   */
  operations?(signal?: AbortSignal): Promise<readonly ProviderOperation[]>
  /** Releases connections and processes. Called once, when Polyphony closes. */
  close?(): Promise<void>
}

/** Prices of models. Implemented by `createPriceBook`, which loads its list at first use. */
export interface PriceBook {
  /**
   * Cost of an answer in US dollars. `undefined`, never 0, for an unknown model, tier or usage, and for answers of the
   * simulator. Configured prices come before the list. The requested model comes before the one that answered, because
   * operators configure prices for the names in steps. Called once per attempt, so it returns a promise only until the
   * list is loaded.
   */
  price(provider: PricingIdentity, answer: PricedAnswer, usage: Usage): Promise<Cost | undefined> | Cost | undefined
  /** Loads the list before its first use. */
  load(): Promise<void>
  /**
   * Maximum cost of one request in US dollars, with the fees of the tools that the vendor runs itself; `undefined` if
   * the model or one of the tools has no price, 0 for the simulator.
   */
  worstCase(
    provider: PricingIdentity,
    model: string,
    inputTokens: number,
    maxOutputTokens: number,
    hostedTools?: readonly string[],
  ): Promise<number | undefined>
}

/** The fields of a provider that decide its prices. */
export type PricingIdentity = Pick<Provider, 'id' | 'vendor' | 'simulated'>

/** The fields of a provider that decide which model names it knows. */
export type NamedProvider = PricingIdentity & { readonly origin?: string }

/** Why a vendor may reject a model. */
export interface ModelDoubt {
  readonly message: string
  /** The most similar known model. */
  readonly suggestion?: string
  /** Day on which the vendor shuts or shut the model down, such as `2026-10-23`. */
  readonly shutdown?: string
}

/** Known names of models. Implemented by `createModelNames`, which loads its list at first use. */
export interface ModelNames {
  /**
   * Returns a doubt about a model that is not on the list. `undefined` for known models, and wherever the user chooses
   * the names: models with a configured price, fine-tuned models, self-hosted servers, providers written in code, the
   * simulator. A doubt must not prevent a run, because a model may be newer than the list.
   */
  doubt(provider: NamedProvider, model: string): Promise<ModelDoubt | undefined>
}

/** A provider as `polyphony doctor` and `GET /providers` list it. Never holds a key. */
export interface ProviderInfo {
  readonly id: string
  readonly kind: string
  /** Vendor or preset by which prices are found. */
  readonly vendor: string
  readonly active: boolean
  readonly simulated: boolean
  /** Present where the provider answers in this process. */
  readonly inProcess?: true
  /** Present where a service stands behind the provider. */
  readonly service?: true
  /** Present where what the provider receives stays with the operator: sharing is allowed as `in_house`. */
  readonly inHouse?: true
  /** Origin to which the key is sent; `service` for a service, whose address may change with every start. */
  readonly origin: string
}

/** The configured providers. Implemented by `createProviderService`. */
export interface ProviderService {
  /**
   * Resolves with a usable provider, and loads its SDK at first use. Called once per attempt.
   * Rejects with PROVIDER_NOT_CONFIGURED, which names the configured ones, or PROVIDER_INACTIVE.
   */
  get(id: string): Promise<Provider>
  /** Throws the errors of `get` without loading anything. */
  assertUsable(id: string): void
  list(): readonly ProviderInfo[]
  /** Applies to later attempts. Throws PROVIDER_NOT_CONFIGURED. */
  setActive(id: string, active: boolean): void
  /** Closes every provider that was loaded. */
  close(): Promise<void>
}
