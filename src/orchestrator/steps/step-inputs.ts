import type { FlowStep, Target } from '../../domain/definition/flow-definition.ts'
import type { JsonSchema } from '../../domain/execution/model-call.ts'
import { hasCallerMetadata } from '../../domain/execution/request-instructions.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import { isRunStep } from '../../domain/tools/tool-fields.ts'
import type { SharingDecision } from '../../domain/users/sharing.ts'
import type { Attachment, Message } from '../../domain/users/thread.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { RunStepOptions } from '../../executors/executor.ts'
import type { ContextItem, DataSharingService, ShareContext, SharedContext } from '../../policies/policy.ts'
import { type SelectedOutputs, selectOutputs, stepPlanOf } from '../../prompts/step-plan.ts'
import { stepReferences } from '../../prompts/step-references.ts'
import type { TokenCounter } from '../../prompts/token-count.ts'
import { NO_FILES, type ReadFile, type RequestFiles, toRequestFiles } from '../files/file-parts.ts'
import type { FlowExecution, ThreadHistory } from '../flow-run.ts'
import { messageItem } from '../provenance/message-origins.ts'
import { outputItem } from '../provenance/result-origins.ts'
import { repeatRead } from '../repeat-read.ts'

export interface StepInputsDeps {
  /** Implemented by createSharingRules. */
  readonly shareContext: ShareContext
  readonly dataSharing: DataSharingService
  readonly tokens: TokenCounter
  /** Vendor of a provider id, which determines the tokenizer. Implemented by createPricingLookup. */
  readonly vendorOf: (provider: string) => string
  /** Reads the bytes of a stored file. Implemented by createFileReader. */
  readonly readFile: ReadFile
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
  readonly attached: RequestFiles
  readonly decisions: readonly SharingDecision[]
  readonly notes: readonly string[]
}

const NOTHING_SHARED: Shared = { outputs: new Map(), history: [], attached: NO_FILES, decisions: [], notes: [] }

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
  const references = stepReferences(step)
  // Nothing is appended to arguments: they hold what their templates read.
  const isRun = isRunStep(step)
  const wantsHistory = (contextPolicy.shareConversationHistory && !isRun) || references.history
  const readsMetadata = references.metadata && hasCallerMetadata(run.options.metadata)
  const { messages: history, isCut } = wantsHistory ? await deps.historyOf(run) : NO_HISTORY
  const attachments = !isRun && (options.visible.length === 0 || step.inputFrom === 'original') ? run.attachments : []
  if (wanted.size === 0 && history.length === 0 && attachments.length === 0 && !readsMetadata) return NOTHING_SHARED
  const isDirect = contextPolicy.provenance === 'direct'
  const items = history.map((message) => historyItem(message, target.provider, isDirect))
  const attached = new Map<ContextItem, Attachment>()
  const heldElsewhere: string[] = []
  for (const attachment of attachments) {
    if (attachment.vendorFile && attachment.vendorFile.provider !== target.provider) {
      heldElsewhere.push(heldNote(attachment, target))
      continue
    }
    const item = attachmentItem(attachment)
    attached.set(item, attachment)
    items.push(item)
  }
  if (readsMetadata) items.push(METADATA_ITEM)
  let onlyOwn = items.length === 0
  const results = new Map<string, StepResult>()
  for (const [result, required] of wanted) {
    const name = nameOf(result, wanted)
    results.set(name, result)
    const { from, madeFrom } = outputItem(run, result, target.provider)
    items.push({
      kind: 'step_output',
      name,
      from,
      madeFrom,
      text: result.output ?? '',
      required,
    })
    if (from !== target.provider || madeFrom) onlyOwn = false
  }
  const readPolicy = () =>
    repeatRead(() => deps.dataSharing.get(run.userId, target.provider), [run.cancellation, options.cancellation])
  const shared = await deps.shareContext({
    userId: run.userId,
    stepId: step.id,
    to: target.provider,
    policy: onlyOwn ? undefined : await readPolicy(),
    // A shortened value would be another value.
    contextPolicy: isRun ? { ...contextPolicy, maxSharedTokens: Number.POSITIVE_INFINITY } : contextPolicy,
    items,
    countTokens: (text) => deps.tokens.count(text, deps.vendorOf(target.provider), target.model),
  })
  const visible = attached.size === 0 ? [] : shared.visible.flatMap((item) => attached.get(item) ?? [])
  const files = visible.length === 0 ? NO_FILES : await filesForRequest(deps, task, visible)
  const decisions = isCut ? [...shared.decisions, cutHistory(target)] : shared.decisions
  return { ...gather(shared, { history, results, heldElsewhere }), attached: files, decisions }
}

const cutHistory = ({ provider }: Target): SharingDecision => ({
  kind: 'conversation_history',
  piece: 'older messages',
  to: provider,
  allowed: false,
  rule: 'newestMessages',
})

/** Waits for the database, as for everything that a running flow reads. */
export const filesForRequest = (
  { readFile }: Pick<StepInputsDeps, 'readFile'>,
  { run, options }: StepTask,
  attachments: readonly Attachment[],
): Promise<RequestFiles> =>
  toRequestFiles(attachments, (file) => repeatRead(() => readFile(file), [run.cancellation, options.cancellation]))

const NO_HISTORY: ThreadHistory = { messages: [], isCut: false }

interface Candidates {
  readonly history: readonly Message[]
  readonly results: ReadonlyMap<string, StepResult>
  /** Notes on files that another vendor holds. */
  readonly heldElsewhere: readonly string[]
}

function gather(
  { visible, notes }: SharedContext,
  { history: messages, results, heldElsewhere }: Candidates,
): Pick<Shared, 'outputs' | 'history' | 'notes'> {
  const outputs = new Map<StepResult, string>()
  const history: Message[] = []
  for (const { kind, name, text } of visible) {
    const result = kind === 'step_output' ? results.get(name) : undefined
    const message = kind === 'conversation_history' ? messages.find((candidate) => candidate.id === name) : undefined
    if (result) outputs.set(result, text)
    else if (message) history.push({ ...message, content: text })
  }
  return { outputs, history, notes: [...heldElsewhere, ...notes] }
}

const historyItem = (message: Message, target: string, isDirect: boolean): ContextItem => ({
  ...messageItem(message, target, isDirect),
  kind: 'conversation_history',
  name: message.id,
  text: message.content,
  required: false,
  whole: message.role === 'system',
})

const heldNote = ({ name, vendorFile }: Attachment, { provider }: Target): string =>
  `"${name}" was not sent: ${vendorFile?.provider} holds it, and ${provider} cannot read it`

/** The text is read once the attachment may be shared; it counts towards no limit of shared tokens. */
const attachmentItem = ({ name }: Attachment): ContextItem => ({ kind: 'attachment', name, text: '', required: false })

/** The template reads it itself, so that its text is not needed here. */
const METADATA_ITEM: ContextItem = { kind: 'metadata', name: 'metadata', text: '', required: true }

/** Name of a result among all: the step's id, with the iteration if one step has several results. */
function nameOf({ stepId, iteration }: StepResult, all: ReadonlyMap<StepResult, unknown>): string {
  let count = 0
  for (const other of all.keys()) if (other.stepId === stepId) count++
  return count === 1 ? stepId : `${stepId}#${iteration}`
}
