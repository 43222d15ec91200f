import { type PricedAnswer, reasoningBudgetOf } from '../domain/execution/model-call.ts'
import type { Cost, Usage } from '../domain/execution/usage.ts'
import type { EstimateCall, PreparedRequest } from './call.ts'

/** Maximum number of output tokens that is assumed, and set where a limit needs one, without `settings.maxTokens`. */
export const DEFAULT_MAX_TOKENS = 4_096

/** Most tokenizers need about one token for four characters of English. Used where nothing was counted. */
const CHARACTERS_PER_TOKEN = 4

export const toTokens = (characters: number): number => Math.ceil(characters / CHARACTERS_PER_TOKEN)

export const estimatedInputTokens = ({ system, messages }: PreparedRequest): number =>
  toTokens(messages.reduce((sum, { content }) => sum + content.length, system?.length ?? 0))

export interface CallEstimateDeps {
  /** Implemented by createPriceBook. */
  readonly price: (provider: string, answer: PricedAnswer, usage: Usage) => Promise<Cost | undefined> | Cost | undefined
  /** Implemented by createModels. */
  readonly isSimulated: (provider: string) => boolean
}

export const createCallEstimate =
  ({ price, isSimulated }: CallEstimateDeps): EstimateCall =>
  (request) => {
    const { provider, model, settings } = request
    const { arguments: operationArguments } = request
    const inputTokens = estimatedInputTokens(request)
    // Operations use no tokens.
    const outputTokens = operationArguments ? 0 : (settings.maxTokens ?? DEFAULT_MAX_TOKENS) + reasoningBudgetOf(settings)
    const simulated = isSimulated(provider)
    if (simulated) return { inputTokens, outputTokens, simulated, costUsd: undefined }
    const usage = { inputTokens, outputTokens, totalTokens: inputTokens + outputTokens, source: 'estimated' } as const
    const cost = price(provider, { model, requestedModel: model }, usage)
    const costUsd = cost instanceof Promise ? cost.then((known) => known?.costUsd) : cost?.costUsd
    return { inputTokens, outputTokens, simulated, costUsd }
  }
