import type { ConfiguredPrice } from '../../config/config.ts'
import type { ModelRequest, ModelResponse } from '../../domain/execution/model-call.ts'
import { createPriceBook } from '../models/prices.ts'
import type { GenerateOptions, Provider } from '../provider.ts'
import { recordOf } from '../vendor/foreign-json.ts'
import { type AttemptState, toBadReply, toStreamCut } from '../vendor/vendor-error.ts'
import { privateTextsOf, withLinkedSignal } from '../vendor/vendor-http.ts'
import { type AiSdkAnswer, createAiSdkAnswer } from './ai-sdk-answer.ts'
import { isBroken, isCutAnswer, toAttemptError } from './ai-sdk-error.ts'
import type { AiSdkModel } from './ai-sdk-model.ts'
import { toAiSdkCall } from './ai-sdk-request.ts'

export type { AiSdkCall, AiSdkModel } from './ai-sdk-model.ts'

export interface AiSdkOptions {
  /** Id by which steps name the provider; the key in `providers` must be the same. */
  readonly id: string
  /**
   * Vendor by which prices are found. Default: the first word of the model's own provider, such as `openai` of
   * `openai.responses`, and the id for a function of models.
   */
  readonly vendor?: string
  /** Price of all models of this provider. Default: the configured and the listed prices. */
  readonly price?: ConfiguredPrice
  /** Whether answers are made in this process, so that texts do not leave it. Default: false. */
  readonly inProcess?: boolean
}

/**
 * Makes a provider out of a language model of the AI SDK (specifications 2 to 4), or out of a function that returns one
 * by its name, as the providers of the AI SDK are. Polyphony retries, waits, bounds and bills as for every provider;
 * the model itself is called once per attempt.
 */
export function fromAiSdk(model: AiSdkModel | ((name: string) => AiSdkModel), options: AiSdkOptions): Provider {
  const { id, inProcess, price } = options
  const find = typeof model === 'function' ? model : () => model
  const vendor = options.vendor ?? (typeof model === 'function' ? id : (model.provider.split('.')[0] ?? id))
  const identity = { id, vendor, simulated: false }

  async function withCost(answer: ModelResponse, requestedModel: string): Promise<ModelResponse> {
    if (price === undefined) return answer
    const book = createPriceBook({ overrides: { [`${id}/${requestedModel}`]: price } })
    const cost = await book.price(identity, { ...answer, requestedModel }, answer.usage)
    return cost === undefined ? answer : { ...answer, providerCostUsd: cost.costUsd }
  }

  return {
    ...identity,
    kind: 'ai-sdk',
    ...(inProcess && { inProcess }),
    async generate(request, callOptions) {
      const { signal } = callOptions
      const answer = createAiSdkAnswer({ onText: callOptions.onDelta, onReasoning: callOptions.onReasoning })
      const state = (): AttemptState => ({ provider: id, privateTexts: privateTextsOf(request), ...answer.known() })
      return withLinkedSignal(signal, state, (linked) =>
        untilAborted(linked, async () =>
          withCost(await run(find(request.model), request, { callOptions, linked, answer, state }), request.model),
        ),
      )
    },
  }

  async function run(target: AiSdkModel, request: ModelRequest, { callOptions, linked, answer, state }: Attempt) {
    const { specificationVersion: version, modelId } = target
    const vendorName = target.provider.split('.')[0] ?? target.provider
    const { call, notes } = await toAiSdkCall(request, { provider: id, version, vendor: vendorName })
    const outgoing = { ...call, abortSignal: linked }
    if (callOptions.onDelta) {
      const { stream } = await target.doStream(outgoing).then(undefined, (error: unknown) => {
        throw isCutAnswer(error) ? toStreamCut('its first part', state()) : toAttemptError(error, state())
      })
      await readStream(stream, answer, { onActivity: callOptions.onActivity, linked, state })
    } else {
      const result = recordOf(
        await target.doGenerate(outgoing).then(undefined, (error: unknown) => {
          throw toAttemptError(error, state())
        }),
      )
      if (!Array.isArray(result.content)) throw toBadReply('something without content', state())
      for (const part of result.content) answer.add(part)
      answer.addEnd(result)
    }
    const asked = { provider: id, model: request.model }
    const other =
      typeof model === 'function' || modelId === request.model ? [] : [`this provider has only the model "${modelId}"`]
    return answer.response(asked, [...other, ...notes])
  }
}

interface Attempt {
  readonly callOptions: GenerateOptions
  readonly linked: AbortSignal
  readonly answer: AiSdkAnswer
  readonly state: () => AttemptState
}

interface StreamReading extends Pick<Attempt, 'linked' | 'state'> {
  readonly onActivity?: () => void
}

/** Rejects when the stream breaks, reports an error or ends without the word of the vendor that it is complete. */
async function readStream(
  stream: ReadableStream<unknown>,
  answer: AiSdkAnswer,
  { onActivity, linked, state }: StreamReading,
): Promise<void> {
  const reader = stream.getReader()
  // A model that does not heed its signal is left all the same, also when its stream comes only after the abort.
  linked.addEventListener('abort', () => void reader.cancel().catch(() => {}), { once: true })
  try {
    linked.throwIfAborted()
    for (;;) {
      const next = await reader.read().catch(() => {
        throw toStreamCut('its last part', state())
      })
      if (next.done) break
      onActivity?.()
      const failed = answer.add(next.value)
      if (failed) throw isBroken(failed.error) ? toStreamCut('its last part', state()) : toAttemptError(failed.error, state())
    }
  } catch (error) {
    await reader.cancel().catch(() => {})
    throw error
  }
  if (!answer.isWhole()) {
    throw answer.isEmpty()
      ? toBadReply('a stream without an answer', state())
      : toStreamCut('the finish reason of its vendor', state())
  }
}

/** Rejects at once when the signal is aborted, whatever the work does with it. */
function untilAborted<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    work().then(resolve, reject)
  })
}
