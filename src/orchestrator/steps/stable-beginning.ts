import type { Target } from '../../domain/definition/flow-definition.ts'
import type { PromptScope } from '../../domain/definition/prompt-scope.ts'
import type { ModelMessage, ModelRequest } from '../../domain/execution/model-call.ts'
import type { FlowType } from '../../domain/vocabulary.ts'
import { digestOf } from '../../prompts/request-key.ts'
import { type BeginningRules, sharedBeginning } from '../../prompts/shared-beginning.ts'
import { compileTemplate } from '../../prompts/template.ts'
import type { StepTask } from './step-inputs.ts'

export interface StableBeginningDeps {
  /** Tokens from which the vendor of a model caches the beginning of a prompt; Infinity if it does not. */
  readonly minCachedTokens: (target: Target) => number
  /** Implemented by the registry of executors. */
  readonly beginningRulesOf: (type: FlowType) => BeginningRules
}

/** A rendered request whose stable beginning is to be found. */
export interface RenderedRequest {
  readonly system: string | undefined
  readonly messages: readonly ModelMessage[]
  /** The end of the last message's content that the step has written itself. */
  readonly content: string
  /** The prompt of a step without one, which ends `content`; empty otherwise. */
  readonly instruction: string
  readonly scope: PromptScope
}

/** As the adapter of Anthropic estimates. */
const CHARACTERS_PER_TOKEN = 4

/**
 * Marks the ends of the stable beginnings of a request in its messages, and names the cache that holds them. Only where
 * the vendor caches beginnings of this length, and where other requests of the flow are likely to begin like this one.
 * Changes no text.
 */
export function withStableBeginning(
  deps: StableBeginningDeps,
  task: StepTask,
  target: Target,
  request: RenderedRequest,
): Pick<ModelRequest, 'messages' | 'cacheKey'> {
  const { messages } = request
  const ends = findEnds(deps, task, target, request)
  if (!ends.some((one) => one !== undefined && one.length > 0)) return { messages }
  return { messages: messages.map((message, index) => withEnds(message, ends[index])), cacheKey: cacheKeyOf(task) }
}

type Ends = readonly number[] | undefined

const withEnds = (message: ModelMessage, ends: Ends): ModelMessage =>
  message.role === 'user' && ends !== undefined && ends.length > 0 ? { ...message, stableLength: ends } : message

/** For each message the lengths of its stable beginnings; empty if none is long enough to be cached. */
function findEnds(
  { minCachedTokens, beginningRulesOf }: StableBeginningDeps,
  { run: { definition }, step }: StepTask,
  target: Target,
  { system = '', messages, content, instruction, scope }: RenderedRequest,
): readonly Ends[] {
  if (step.settings?.cache === 'off' || target.provider !== step.provider || target.model !== step.model) return []
  const minLength = minCachedTokens(target) * CHARACTERS_PER_TOKEN
  const total = messages.reduce((sum, message) => sum + message.content.length, system.length)
  if (total < minLength) return []
  const shared = sharedBeginning(definition, beginningRulesOf(definition.type), step)
  if (!shared) return []
  const last = messages.at(-1)
  const before = total - (last?.content.length ?? 0)
  const offset = (last?.content.length ?? 0) - content.length
  const lengths = shared.sources.flatMap((source) => {
    const text = compileTemplate(source).render(scope)
    // Marks such as `{{-` after it may have removed its last spaces.
    return content.startsWith(text) ? text.length : []
  })
  if (shared.upTo === 'instruction') lengths.push(content.length - instruction.length)
  if (shared.upTo === 'end') lengths.push(content.length)
  const ends = [...new Set(lengths)].map((length) => offset + length).filter((end) => before + end >= minLength)
  const history = messages.findLastIndex((message) => message.role === 'user' && message !== last)
  return messages.map((message, index) => {
    if (message === last) return ends.sort((a, b) => a - b)
    return index === history && before >= minLength ? [message.content.length] : undefined
  })
}

/** Never the same for two users, and no text from which a vendor could learn who they are. */
const cacheKeyOf = ({ run: { userId, threadId } }: StepTask): string => digestOf(['prompt cache', userId, threadId]).slice(0, 32)
