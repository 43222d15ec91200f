import type { ModelRequest, ModelResponse, PricedAnswer } from '../domain/execution/model-call.ts'
import type { Cost, Usage } from '../domain/execution/usage.ts'

export interface GenerateOptions {
  /** Must close the HTTP request within 100 ms of its abort, in every phase. */
  readonly signal: AbortSignal
  /**
   * Given: the adapter streams and calls it synchronously with every piece of answer text, in order.
   * Absent: the adapter sends a plain request.
   */
  readonly onDelta?: (text: string) => void
  /** Given beside `onDelta`: called synchronously with every piece of reasoning text that the vendor sends apart from the answer. */
  readonly onReasoning?: (text: string) => void
  /**
   * Called synchronously, before more text, where all text that was delivered turns out to be reasoning: it is void, and the answer starts anew.
   * The reasoning is not repeated to `onReasoning`.
   */
  readonly onVoid?: () => void
  /** Called once per piece that arrives, text or not (reasoning, pings), so that an idle timeout sees life. */
  readonly onActivity?: () => void
}

/**
 * One configured account at one vendor. Built once, shared by all flows, called once per attempt.
 */
export interface Provider {
  /** Id as steps name it, e.g. `openai`, or any key of the configuration. */
  readonly id: string
  /** Adapter that speaks to it: `openai`, `anthropic`, `google`, `openai-compatible`. */
  readonly kind: string
  /** Preset or vendor name for prices, e.g. `openai`, `groq`. */
  readonly vendor: string
  /** Every answer comes from the simulator; must never be counted as cost or quality. */
  readonly simulated: boolean
  /**
   * One request, one answer. Must send no retries of its own, save for a request that was refused for the name of a parameter, which is sent once more without it.
   * Must not write prompts or keys to a log.
   * Must resolve only for an answer that ended with its terminal mark.
   * Rejects with an OrchestratorError: PROVIDER_AUTH (401, 403, Gemini's 400 for keys), PROVIDER_RATE_LIMITED (429),
   * PROVIDER_QUOTA_EXHAUSTED (a 429 or 402 for used-up credit), PROVIDER_UNAVAILABLE (5xx, 408, 529, refused and reset connections),
   * PROVIDER_REJECTED (400, 404, 413, 422 and redirects), PROVIDER_BAD_REPLY (what arrived is no answer),
   * PROVIDER_STREAM_CUT (it ended before its end mark), CONTENT_FILTERED (the prompt was refused with no answer at all).
   * What was already known of the attempt goes along: `withCallFacts` (domain/call-facts.ts). After an abort it rejects with `signal.reason`.
   */
  generate(request: ModelRequest, options: GenerateOptions): Promise<ModelResponse>
  /** Cheap reachability and key check for `polyphony doctor`; rejects as `generate` does. */
  ping?(signal: AbortSignal): Promise<void>
}

/** Prices of models. Loads its list at first use. */
export interface PriceBook {
  /**
   * Cost of an answer; `undefined` for an unknown model, tier or tokens, never 0 for them, and for answers of the simulator. A configured price comes
   * before the list, and the requested name before the one that answered: the operator configures what steps name.
   * A promise only until the list is loaded: it is asked once per attempt.
   */
  price(provider: PricingIdentity, answer: PricedAnswer, usage: Usage): Promise<Cost | undefined> | Cost | undefined
  /** Most that a call of this model can cost, US dollars; `undefined` where the model has no price, 0 for the simulator. */
  worstCase(provider: PricingIdentity, model: string, inputTokens: number, maxOutputTokens: number): Promise<number | undefined>
}

export type PricingIdentity = Pick<Provider, 'id' | 'vendor' | 'simulated'>

/** A provider as far as the names of its models depend on it. */
export type NamedProvider = PricingIdentity & { readonly origin?: string }

/** Why a call of a model may be refused. */
export interface ModelDoubt {
  readonly message: string
  /** The model that was probably meant. */
  readonly suggestion?: string
  /** Day of the vendor's shutdown, `2026-10-23`, past or to come. */
  readonly shutdown?: string
}

/** What is known of the names of models. Implemented by `createModelNames`; loads its list at first use. */
export interface ModelNames {
  /**
   * Undefined for a known model, and wherever names are the user's own: models with a configured price, fine-tuned ones, servers of one's own, providers
   * that are code, the simulator. A doubt stops nothing, since a model may be newer than the list.
   */
  doubt(provider: NamedProvider, model: string): Promise<ModelDoubt | undefined>
}

/** One line of `polyphony doctor` and of `GET /providers`. Never holds a key. */
export interface ProviderInfo {
  readonly id: string
  readonly kind: string
  /** Preset or vendor name for prices. */
  readonly vendor: string
  readonly active: boolean
  readonly simulated: boolean
  /** Origin the key is bound to. */
  readonly origin: string
}

/** Which providers there are (S4-137). */
export interface ProviderService {
  /** Rejects with PROVIDER_NOT_CONFIGURED (naming what is configured) or PROVIDER_INACTIVE. The SDK is loaded at first use. */
  get(id: string): Promise<Provider>
  /** Throws as `get` rejects, without loading anything. */
  assertUsable(id: string): void
  list(): readonly ProviderInfo[]
  setActive(id: string, active: boolean): void
}
