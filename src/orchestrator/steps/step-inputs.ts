import type { FlowStep, Target } from '../../domain/definition/flow-definition.ts'
import type { JsonSchema } from '../../domain/execution/model-call.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import type { SharingDecision } from '../../domain/users/sharing.ts'
import type { Attachment, Message } from '../../domain/users/thread.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { RunStepOptions } from '../../executors/executor.ts'
import type { ContextItem, DataSharingService, ShareContext, SharedContext } from '../../policies/policy.ts'
import type { PromptSection } from '../../prompts/action-prompt.ts'
import { type SelectedOutputs, selectOutputs, stepPlanOf } from '../../prompts/step-plan.ts'
import { stepReferences } from '../../prompts/step-references.ts'
import type { TokenCounter } from '../../prompts/token-count.ts'
import type { FlowExecution, ThreadHistory } from '../flow-run.ts'
import { repeatRead } from '../repeat-read.ts'

export interface StepInputsDeps {
  /** Implemented by shareContext of policies/shared-context.ts. */
  readonly shareContext: ShareContext
  readonly dataSharing: DataSharingService
  readonly tokens: TokenCounter
  /** Vendor of a provider id, which determines the tokenizer. Implemented by createPricingLookup. */
  readonly vendorOf: (provider: string) => string
  /** Implemented by createThreadHistory. */
  readonly historyOf: (run: FlowExecution) => Promise<ThreadHistory>
}

/** One run of one step. */
export interface StepTask {
  readonly run: FlowExecution
  readonly step: FlowStep
  readonly options: RunStepOptions
  /** Address of the step within the flow. */
  readonly path: string
  readonly iteration: number
  /** Schema that the answer must fit, and the instruction that requests it. */
  readonly answer?: { readonly schema: JsonSchema; readonly instruction: string }
  /** Whether a lost call may be repeated, if a user was asked. */
  readonly mayRepeat?: boolean
}

/** The latest successful result of each step, in order. Templates may read only these outputs. */
export function latestSuccesses(visible: readonly StepResult[]): readonly StepResult[] {
  const seen = new Set<string>()
  return visible
    .toReversed()
    .filter(({ status, stepId }) => {
      if (status !== 'SUCCESS' || seen.has(stepId)) return false
      seen.add(stepId)
      return true
    })
    .reverse()
}

/**
 * Selects the results that the step reads according to its plan. Throws STEP_FAILED if the step that `inputFrom` names
 * has no output.
 */
export function selectResults({ run, step, options }: StepTask): SelectedOutputs<StepResult> {
  const plan = stepPlanOf(run.definition, step)
  const visible = latestSuccesses(options.visible)
  const { inputs, wanted } = selectOutputs(plan, visible, visible.slice(-1), options.input)
  if (plan.input.from === 'named' && inputs.length === 0) {
    const message = `Step "${step.id}" takes its input from "${step.inputFrom}", which gave no output`
    throw new OrchestratorError('STEP_FAILED', message, { details: { stepId: step.id, inputFrom: step.inputFrom } })
  }
  if (!plan.offersAll) return { inputs, wanted }
  const offered = options.visible.filter((result) => result.status === 'SUCCESS' && !wanted.has(result))
  return { inputs, wanted: new Map([...wanted, ...offered.map((result) => [result, false] as const)]) }
}

/** The context that one target may see. */
export interface Shared {
  readonly outputs: ReadonlyMap<StepResult, string>
  readonly history: readonly Message[]
  readonly attachments: readonly PromptSection[]
  readonly decisions: readonly SharingDecision[]
  readonly notes: readonly string[]
}

const NOTHING_SHARED: Shared = { outputs: new Map(), history: [], attachments: [], decisions: [], notes: [] }

/**
 * Decides which of the wanted outputs, messages and attachments the target may see. Rejects with DATA_SHARING_DENIED if
 * a required one may not be shared.
 */
export async function shareWithTarget(
  deps: StepInputsDeps,
  task: StepTask,
  target: Target,
  wanted: ReadonlyMap<StepResult, boolean>,
): Promise<Shared> {
  const { run, step, options } = task
  const { contextPolicy } = run.definition
  const wantsHistory = contextPolicy.shareConversationHistory || stepReferences(step).history
  const { messages: history, isCut } = wantsHistory ? await deps.historyOf(run) : NO_HISTORY
  const attachments = options.visible.length === 0 || step.inputFrom === 'original' ? run.attachments : []
  if (wanted.size === 0 && history.length === 0 && attachments.length === 0) return NOTHING_SHARED
  const items = [...history.map(historyItem), ...attachments.map(attachmentItem)]
  let onlyOwn = items.length === 0
  const names = itemNames([...wanted.keys()])
  for (const [result, required] of wanted) {
    const from = writerOf(result, target.provider)
    items.push({ kind: 'step_output', name: names.get(result) ?? result.stepId, from, text: result.output ?? '', required })
    if (from !== target.provider) onlyOwn = false
  }
  const readPolicy = () =>
    repeatRead(() => deps.dataSharing.get(run.userId, target.provider), [run.cancellation, options.cancellation])
  const shared = await deps.shareContext({
    userId: run.userId,
    stepId: step.id,
    to: target.provider,
    policy: onlyOwn ? undefined : await readPolicy(),
    contextPolicy,
    items: items,
    countTokens: (text) => deps.tokens.count(text, deps.vendorOf(target.provider), target.model),
  })
  const gathered = gather(shared, history, names)
  if (!isCut) return gathered
  const cut = {
    kind: 'conversation_history',
    piece: 'older messages',
    to: target.provider,
    allowed: false,
    rule: 'newestMessages',
  } as const
  return { ...gathered, decisions: [...gathered.decisions, cut] }
}

const NO_HISTORY: ThreadHistory = { messages: [], isCut: false }

function gather(
  { visible, decisions, notes }: SharedContext,
  messages: readonly Message[],
  names: ReadonlyMap<StepResult, string>,
): Shared {
  const byName = new Map([...names].map(([result, name]) => [name, result]))
  const outputs = new Map<StepResult, string>()
  const history: Message[] = []
  const attachments: PromptSection[] = []
  for (const { kind, name, text } of visible) {
    const result = kind === 'step_output' ? byName.get(name) : undefined
    const message = kind === 'conversation_history' ? messages.find((candidate) => candidate.id === name) : undefined
    if (result) outputs.set(result, text)
    else if (message) history.push({ ...message, content: text })
    else attachments.push({ label: name, text })
  }
  return { outputs, history, attachments, decisions, notes }
}

const historyItem = (message: Message): ContextItem => ({
  kind: 'conversation_history',
  name: message.id,
  from: typeof message.metadata.provider === 'string' ? message.metadata.provider : undefined,
  text: message.content,
  required: false,
  whole: message.role === 'system',
})

const attachmentItem = ({ name, text = '' }: Attachment): ContextItem => ({
  kind: 'attachment',
  name: name,
  text,
  required: false,
})

/** Names of results: the step's id, with the iteration if one step has several results. */
const itemNames = (results: readonly StepResult[]): ReadonlyMap<StepResult, string> =>
  new Map(
    results.map((result) => {
      const isOne = results.every((other) => other === result || other.stepId !== result.stepId)
      return [result, isOne ? result.stepId : `${result.stepId}#${result.iteration}`]
    }),
  )

/**
 * The provider that wrote an output. If several providers wrote samples or parts of it, one other than the target, so
 * that the sharing rules apply.
 */
export function writerOf({ provider, samples, attempts, writers }: StepResult, target: string): string {
  // A text without any writer, such as the user's own, may go to every target.
  if (writers) return writers.find((writer) => writer !== target) ?? target
  const other = samples && attempts.find((attempt) => attempt.error === undefined && attempt.provider !== target)
  return other?.provider ?? provider
}
