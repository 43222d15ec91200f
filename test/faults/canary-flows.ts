import fc from 'fast-check'
import type { FlowDefinitionInput, FlowStepInput } from '../../src/domain/definition/flow-definition.ts'
import type { StepContext } from '../../src/domain/definition/step-context.ts'
import type { FlowType } from '../../src/domain/vocabulary.ts'
import { IN_HOUSE, OUTSIDE, POOL, PROVIDERS, VENDOR_WIRES, VENDORS } from './canary-vendors.ts'

type Prompt = FlowStepInput['prompt']

/** A prompt function that goes on where a piece is refused, as an author who wants to get around the rules would. */
const swallowing =
  (read: (context: StepContext) => unknown) =>
  (context: StepContext): string => {
    try {
      return `Use this: ${JSON.stringify(read(context))}`
    } catch {
      return 'Nothing to use.'
    }
  }

const everyOutput = (context: StepContext): string =>
  [
    ...Object.keys(context.previousStepOutputs).map((id) => swallowing((one) => one.previousStepOutputs[id])(context)),
    ...context.allStepResults.flatMap((_, index) =>
      (['output', 'parsed', 'samples', 'refusal', 'error', 'notes', 'withheld'] as const).map((key) =>
        swallowing((one) => one.allStepResults[index]?.[key])(context),
      ),
    ),
    swallowing((one) => one.previousStepOutput)(context),
    swallowing((one) => one.threadHistory)(context),
    swallowing((one) => ({ ...one.allStepResults[0] }))(context),
    swallowing((one) => structuredClone(one.allStepResults))(context),
    swallowing((one) => Object.entries(Object.getOwnPropertyDescriptors(one.previousStepOutputs)))(context),
  ].join('\n')

/** Names of prompts; those with an earlier step get its id. */
export const PROMPTS: Readonly<Record<string, (earlier: string | undefined) => Prompt>> = {
  none: () => undefined,
  original: () => 'original',
  plain: () => 'Do your work.',
  input: () => 'Work on {{ input }}',
  previous: () => 'Work on {{ previous }}',
  step: (earlier) => (earlier ? `Work on {{ steps.${earlier}.output | fence }}` : '{{ original }}'),
  parsed: (earlier) =>
    earlier ? `Work on {{ steps.${earlier}.parsed.feedback }} {{ steps["${earlier}"].status }}` : '{{ original }}',
  samples: (earlier) => (earlier ? `Work on {{ steps.${earlier}.samples | join: ", " }}` : '{{ original }}'),
  allSteps: () => '{% for step in steps %}{{ step[1].output }}{% endfor %}{{ original }}',
  stepsJson: () => 'Work on {{ steps | json }} {{ original }}',
  history: () => '{% for message in history %}{{ message.content }}{% endfor %} {{ original }}',
  previousFunction: () => (context) => `Work on ${context.previousStepOutput ?? 'nothing'}`,
  outputsFunction: () => (context) => `Work on ${Object.values(context.previousStepOutputs).join()}`,
  resultsFunction: () => (context) => `Work on ${context.allStepResults.map(({ output }) => output).join()}`,
  historyFunction: () => (context) => `Work on ${context.threadHistory.map(({ content }) => content).join()}`,
  jsonFunction: () => (context) => JSON.stringify(context),
  asyncFunction: () => async (context) => `Work on ${context.originalPrompt} ${context.allStepResults.at(-1)?.samples?.join()}`,
  swallowing: () => everyOutput,
}

export interface StepPlan {
  readonly provider: (typeof PROVIDERS)[number] | typeof POOL
  readonly prompt: string
  readonly inputFrom?: 'previous' | 'original' | 'all' | 'earlier'
  readonly samples?: number
  readonly fallback?: (typeof PROVIDERS)[number]
  readonly refused: boolean
  readonly optional: boolean
  readonly conditional: boolean
}

const stepPlanOf = (
  providers: readonly StepPlan['provider'][],
  fallbacks: readonly (typeof PROVIDERS)[number][],
): fc.Arbitrary<StepPlan> =>
  fc.record(
    {
      provider: fc.constantFrom(...providers),
      prompt: fc.constantFrom(...Object.keys(PROMPTS)),
      inputFrom: fc.constantFrom('previous', 'original', 'all', 'earlier'),
      samples: fc.constantFrom(2, 3),
      fallback: fc.constantFrom(...fallbacks),
      refused: fc.nat(4).map((dice) => dice === 0),
      optional: fc.nat(3).map((dice) => dice === 0),
      conditional: fc.nat(4).map((dice) => dice === 0),
    },
    { requiredKeys: ['provider', 'prompt', 'refused', 'optional', 'conditional'] },
  )

const rules = fc.option(
  fc.record({ allowConversationHistory: fc.boolean(), allowCrossProviderContext: fc.boolean(), allowAttachments: fc.boolean() }),
  { nil: undefined, freq: 5 },
)

const combinationOf = (stepPlan: fc.Arbitrary<StepPlan>) =>
  fc.record({
    type: fc.constantFrom<FlowType>('sequential', 'parallel', 'graph', 'conditional', 'critique', 'refinement'),
    steps: fc.array(stepPlan, { minLength: 4, maxLength: 4 }),
    policies: fc.record({ alpha: rules, beta: rules, gamma: rules, [IN_HOUSE]: rules, [OUTSIDE]: rules }),
    contextPolicy: fc.record({
      shareConversationHistory: fc.boolean(),
      shareStepOutputs: fc.nat(3).map((dice) => dice !== 0),
      includeOriginalPrompt: fc.boolean(),
      preserveSystemPrompts: fc.boolean(),
      maxSharedTokens: fc.constantFrom(0, 60, 10_000, 10_000, 10_000),
    }),
    givenInput: fc.boolean(),
    streaming: fc.boolean(),
  })
/** Flows over the vendors alone. */
export const combination = combinationOf(stepPlanOf(VENDORS, VENDORS))
/** Flows over vendors, services, and the pool that mixes them. */
export const combinationWithServices = combinationOf(stepPlanOf([...VENDORS, ...PROVIDERS, POOL], PROVIDERS))
export type Combination = typeof combination extends fc.Arbitrary<infer Value> ? Value : never

const READS_OUTPUTS = ['input', 'previous', 'step', 'parsed', 'samples', 'allSteps', 'stepsJson']

const ACTIONS = {
  critique: ['generate', 'critique', 'refine', 'summarize'],
  refinement: ['generate', 'evaluate', 'refine', 'summarize'],
} as const

/** The definition of a combination; `run` is written into every system prompt, so that the server knows who asks. */
export function toDefinition({ type, steps, contextPolicy }: Combination, run: string): FlowDefinitionInput {
  const isLoop = type === 'critique' || type === 'refinement'
  // The parser refuses a template that reads what the context policy hides.
  const hidden = (prompt: string) =>
    (!contextPolicy.shareStepOutputs && READS_OUTPUTS.includes(prompt)) ||
    (!contextPolicy.shareConversationHistory && prompt === 'history')
  return {
    name: 'canaries',
    type,
    contextPolicy,
    ...(type === 'critique' && { critique: { rounds: 2 } }),
    ...(type === 'refinement' && { refinement: { maxIterations: 2, qualityThreshold: 0.9 } }),
    steps: steps.map((plan, index): FlowStepInput => {
      const earlier = index === 0 ? undefined : `s${Math.max(0, index - 1 - (steps.length % 2))}`
      const branches = type === 'conditional' && index > 0 && index < 3
      return {
        id: `s${index}`,
        provider: plan.provider,
        model: plan.provider === POOL ? 'mixed' : (VENDOR_WIRES[plan.provider]?.model ?? ''),
        action: isLoop ? (ACTIONS[type][index] ?? 'summarize') : 'generate',
        system: `RUN(${run})STEP(s${index})`,
        prompt: PROMPTS[hidden(plan.prompt) ? 'plain' : plan.prompt]?.(earlier),
        inputFrom: index === 0 ? undefined : plan.inputFrom === 'earlier' ? earlier : plan.inputFrom,
        ...(type === 'graph' && index > 0 && { dependsOn: [earlier ?? 's0'] }),
        maxRetries: 0,
        samples: plan.samples,
        fallbacks: plan.fallback && [{ provider: plan.fallback, model: VENDOR_WIRES[plan.fallback]?.model ?? '' }],
        ...(plan.optional && !isLoop && { optional: true }),
        ...(branches && { condition: index === 1 ? 'steps.s0.output.contains("canary")' : 'false' }),
        ...(type === 'sequential' && plan.conditional && { condition: ({ iteration }: StepContext) => iteration > 1 }),
      }
    }),
  }
}
