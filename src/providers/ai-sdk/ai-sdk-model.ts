/**
 * What Polyphony uses of a language model of the AI SDK, in words that its specifications 2 to 4 share. It is written
 * here so that the types of this package depend on no version of the AI SDK.
 */
export interface AiSdkModel {
  /** `v2`, `v3` or `v4`. */
  readonly specificationVersion: string
  /** Vendor and interface, such as `openai.responses`. */
  readonly provider: string
  readonly modelId: string
  doGenerate(options: AiSdkCall): PromiseLike<object>
  doStream(options: AiSdkCall): PromiseLike<{ readonly stream: ReadableStream<unknown> }>
}

/** One call of a model. */
export interface AiSdkCall {
  readonly prompt: unknown[]
  readonly maxOutputTokens?: number
  readonly temperature?: number
  readonly topP?: number
  readonly stopSequences?: string[]
  readonly seed?: number
  readonly responseFormat?: unknown
  readonly tools?: unknown[]
  readonly toolChoice?: unknown
  readonly abortSignal?: AbortSignal
  readonly providerOptions?: unknown
}
