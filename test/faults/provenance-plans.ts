import fc from 'fast-check'
import type { FlowDefinitionInput, FlowStepInput } from '../../src/domain/definition/flow-definition.ts'
import type { StepContext } from '../../src/domain/definition/step-context.ts'
import type { DataSharingRules } from '../../src/domain/users/sharing.ts'

/** Three vendors, and a provider that answers in the process of the operator. */
export const VENDORS = ['alpha', 'beta', 'gamma'] as const
export const IN_PROCESS = 'local'
/** A provider elsewhere whose texts stay with the operator. It may see everything, and what it writes is shared like that of a vendor. */
export const IN_HOUSE = 'shelf'
export const PROVIDERS = [...VENDORS, IN_PROCESS, IN_HOUSE] as const
/** Providers of an operation: a service elsewhere, and functions in the process of the operator. */
export const SERVICE = 'service'
export const FUNCTIONS = 'functions'
/** Providers whose texts stay with the operator. */
export const INSIDE: ReadonlySet<string> = new Set([IN_PROCESS, FUNCTIONS])

/** How a step comes to the texts that it sends; `k` is the index of the earlier step that it names. */
export const READS = [
  'original',
  'plain',
  'template',
  'previous',
  'samples',
  'inputFrom',
  'all',
  'metadata',
  'history',
  'function',
  'swallowing',
  'everything',
  'metadataFunction',
] as const
export type Read = (typeof READS)[number]

export interface StepDraft {
  /** Whether a person approves a text here in place of a model's answer. */
  readonly approves: boolean
  /** The provider of an operation that runs here in place of a model. */
  readonly runs?: string
  /** The provider of an operation that the model calls once, before it answers. */
  readonly tool?: string
  readonly provider: string
  readonly reads: Read
  readonly k: number
  readonly fallback?: string
  /** Which requests of the step the first provider refuses, where it has a fallback. */
  readonly refuses: 'none' | 'first' | 'all' | 'afterTool'
  readonly samples: 1 | 2
}

export interface ProvenancePlan {
  readonly steps: readonly StepDraft[]
  readonly policies: Readonly<Record<string, DataSharingRules | undefined>>
  readonly shareConversationHistory: boolean
  readonly shareStepOutputs: boolean
  readonly preserveSystemPrompts: boolean
  /** Whether the prompt is given, so that it does not come from a message with an attachment. */
  readonly givesInput: boolean
  readonly givesMetadata: boolean
  readonly history: readonly { readonly role: 'user' | 'assistant' | 'system'; readonly from?: string }[]
  /** The second run: the same definition again in the thread, or a rerun from the step with this index. */
  readonly second: 'none' | 'again' | { readonly from: number }
}

const provider = fc.constantFrom(...PROVIDERS)
const operations = fc.constantFrom(SERVICE, SERVICE, FUNCTIONS)
const rules = fc.record({
  allowConversationHistory: fc.boolean(),
  allowCrossProviderContext: fc.boolean(),
  allowAttachments: fc.boolean(),
})
/** Half of the policies allow everything, so that texts come far. */
const policy = fc.oneof(
  fc.constant({ allowConversationHistory: true, allowCrossProviderContext: true, allowAttachments: true }),
  fc.option(rules, { nil: undefined }),
)
const draft = fc.record({
  approves: fc.integer({ min: 0, max: 5 }).map((roll) => roll === 0),
  provider,
  runs: fc.option(operations, { nil: undefined, freq: 3 }),
  tool: fc.option(operations, { nil: undefined, freq: 2 }),
  reads: fc.constantFrom(...READS, 'template', 'inputFrom', 'previous'),
  k: fc.nat(4),
  fallback: fc.option(provider, { nil: undefined, freq: 2 }),
  refuses: fc.constantFrom('none', 'first', 'all', 'afterTool'),
  samples: fc.constantFrom(1, 1, 1, 2),
})
const message = fc.oneof(
  fc.constantFrom({ role: 'user' } as const, { role: 'system' } as const),
  fc.constantFrom(...VENDORS, IN_HOUSE).map((from) => ({ role: 'assistant', from }) as const),
)

export const provenancePlan: fc.Arbitrary<ProvenancePlan> = fc
  .record({
    steps: fc.array(draft, { minLength: 2, maxLength: 5 }),
    policies: fc.record({ alpha: policy, beta: policy, gamma: policy, [SERVICE]: policy }),
    shareConversationHistory: fc.boolean(),
    shareStepOutputs: fc.integer({ min: 0, max: 9 }).map((roll) => roll > 0),
    preserveSystemPrompts: fc.boolean(),
    givesInput: fc.boolean(),
    givesMetadata: fc.boolean(),
    history: fc.array(message, { maxLength: 3 }),
    second: fc.oneof(
      fc.constant('none' as const),
      fc.constant('again' as const),
      fc.nat(4).map((from) => ({ from })),
    ),
  })
  .map((plan) => ({ ...plan, steps: plan.steps.map((step, index) => fitted(step, index, plan)) }))

/** A step reads only what is there: the first has no step before it, and metadata may not be given. */
function fitted(step: StepDraft, index: number, plan: Pick<ProvenancePlan, 'givesMetadata' | 'shareStepOutputs'>): StepDraft {
  const isMetadata = step.reads === 'metadata' || step.reads === 'metadataFunction'
  const isEarlier = ['template', 'previous', 'samples', 'inputFrom', 'function', 'swallowing'].includes(step.reads)
  // With hidden outputs a template that names one fails for want of a value, which is no matter of sharing.
  const lacks = (isMetadata && !plan.givesMetadata) || (isEarlier && (index === 0 || !plan.shareStepOutputs))
  const reads = lacks ? 'plain' : step.reads
  const approves = step.approves && index > 0 && ['template', 'previous', 'inputFrom', 'metadata', 'history'].includes(reads)
  // Arguments hold what their templates read, and nothing is appended to them.
  const runs = approves || !['template', 'previous', 'metadata', 'history'].includes(reads) ? undefined : step.runs
  const isModel = !approves && runs === undefined
  const fallback = step.fallback === step.provider || !isModel ? undefined : step.fallback
  const k = index === 0 ? 0 : step.k % index
  return {
    ...step,
    reads,
    approves,
    runs,
    tool: isModel ? step.tool : undefined,
    fallback,
    k,
    samples: isModel ? step.samples : 1,
  }
}

export const idOf = (index: number): string => `s${index}`

/** Whether the second run starts at a step that is there. */
export const rerunFrom = ({ second, steps }: ProvenancePlan): number | undefined =>
  typeof second === 'object' ? second.from % steps.length : undefined

export function toDefinition(plan: ProvenancePlan): FlowDefinitionInput {
  const { shareConversationHistory, shareStepOutputs, preserveSystemPrompts } = plan
  return {
    name: 'generated',
    type: 'sequential',
    contextPolicy: { shareConversationHistory, shareStepOutputs, preserveSystemPrompts, maxSharedTokens: 100_000_000 },
    steps: plan.steps.map((step, index) => toStep(step, index, plan)),
  }
}

function toStep(step: StepDraft, index: number, plan: ProvenancePlan): FlowStepInput {
  const id = idOf(index)
  const prompt = promptOf(step, plan)
  const inputFrom = inputOf(step)
  if (step.approves) {
    const show = step.reads === 'inputFrom' ? undefined : String(prompt)
    return { id, action: 'approve', approval: { prompt: 'Is it fine?', show }, inputFrom }
  }
  if (step.runs) return { id, action: 'run', model: `${step.runs}/note`, arguments: { text: String(prompt) }, maxRetries: 0 }
  return {
    id,
    model: `${step.provider}/m`,
    action: 'generate',
    system: `STEP(${id})`,
    prompt,
    inputFrom,
    maxRetries: 0,
    ...(step.tool && { tools: [`${step.tool}/note`] }),
    ...(step.samples > 1 && { samples: step.samples }),
    ...(step.fallback && { fallbacks: [{ provider: step.fallback, model: 'm' }] }),
  }
}

const inputOf = ({ reads, k }: StepDraft): string | undefined =>
  reads === 'original' ? 'original' : reads === 'all' ? 'all' : reads === 'inputFrom' ? idOf(k) : undefined

function promptOf({ reads, k }: StepDraft, { steps }: ProvenancePlan): FlowStepInput['prompt'] {
  const named = idOf(k)
  switch (reads) {
    case 'template':
      return `Work on {{ steps.${named}.output }}`
    case 'samples':
      return (steps[k]?.samples ?? 1) > 1
        ? `Work on {{ steps.${named}.samples | join: " " }}`
        : `Work on {{ steps.${named}.output | fence }}`
    case 'previous':
      return 'Work on {{ previous }}'
    case 'metadata':
      return 'Note: {{ metadata.note }}'
    case 'history':
      return '{% for message in history %}{{ message.content }} {% endfor %}{{ original }}'
    case 'function':
      return (context: StepContext) => `Work on ${context.previousStepOutputs[named]}`
    case 'swallowing':
      return (context: StepContext) => swallowed(() => `Work on ${context.previousStepOutputs[named]}`)
    case 'everything':
      return (context: StepContext) => JSON.stringify(context)
    case 'metadataFunction':
      return (context: StepContext) => `Note: ${context.metadata.note}`
    default:
      return 'Do your work.'
  }
}

/** A prompt function that goes on where a text is refused, as an author who wants to get around the rules would. */
function swallowed(read: () => string): string {
  try {
    return read()
  } catch {
    return 'Nothing to work on.'
  }
}
