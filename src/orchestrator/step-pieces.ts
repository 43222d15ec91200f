import type { FlowStep, Target } from '../domain/flow-definition.ts'
import type { JsonSchema } from '../domain/model-call.ts'
import type { SharingDecision } from '../domain/sharing.ts'
import type { StepResult } from '../domain/step-result.ts'
import type { Message } from '../domain/thread.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { RunStepOptions } from '../executors/executor.ts'
import type { ContextPiece, DataSharingService, ShareContext, SharedContext } from '../policies/policy.ts'
import type { PromptSection } from '../prompts/action-prompt.ts'
import type { StepReferences } from '../prompts/step-references.ts'
import type { TokenCounter } from '../prompts/token-count.ts'
import type { FlowRun } from './flow-run.ts'

export interface SharePorts {
  readonly shareContext: ShareContext
  readonly dataSharing: DataSharingService
  readonly tokens: TokenCounter
  /** Price and tokenizer family of a provider id. */
  readonly vendorOf: (provider: string) => string
  readonly historyOf: (run: FlowRun) => Promise<readonly Message[]>
}

/** One step that is to run now. */
export interface StepOrder {
  readonly run: FlowRun
  readonly step: FlowStep
  readonly options: RunStepOptions
  readonly iteration: number
  /** Schema the answer is to fit, and the words that ask for it. */
  readonly answer?: { readonly schema: JsonSchema; readonly instruction: string }
}

/** The results whose outputs are the step's input. */
export function inputResults({ run, step, options }: StepOrder, references: StepReferences): readonly StepResult[] {
  if (options.input) return options.input
  const visible = latest(options.visible)
  if (step.inputFrom === 'original') return []
  if (step.inputFrom === 'all') return visible
  if (step.inputFrom !== undefined && step.inputFrom !== 'previous') {
    const named = visible.find((result) => result.stepId === step.inputFrom)
    if (named) return [named]
    throw new OrchestratorError(
      'STEP_FAILED',
      `Step "${step.id}" takes its input from "${step.inputFrom}", which gave no output`,
      {
        details: { stepId: step.id, inputFrom: step.inputFrom },
      },
    )
  }
  if (step.inputFrom === undefined && step.dependsOn) return visible.filter((result) => step.dependsOn?.includes(result.stepId))
  // In a graph nothing comes before by position alone.
  const isGraph = run.definition.type === 'graph' || run.definition.type === 'parallel'
  if (isGraph && step.inputFrom === undefined && !references.input && !references.previous) return []
  return visible.slice(-1)
}

/** The latest success of each step, in order. */
function latest(visible: readonly StepResult[]): readonly StepResult[] {
  const byStep = new Map<string, StepResult>()
  for (const result of visible) {
    if (result.status !== 'SUCCESS') continue
    byStep.delete(result.stepId)
    byStep.set(result.stepId, result)
  }
  return [...byStep.values()]
}

/** What one target gets to see. */
export interface Shared {
  readonly outputs: readonly { readonly result: StepResult; readonly text: string }[]
  readonly history: readonly Message[]
  readonly attachments: readonly PromptSection[]
  readonly decisions: readonly SharingDecision[]
  readonly notes: readonly string[]
}

const NOTHING_SHARED: Shared = { outputs: [], history: [], attachments: [], decisions: [], notes: [] }

export async function shareWithTarget(
  ports: SharePorts,
  order: StepOrder,
  target: Target,
  inputs: readonly StepResult[],
  references: StepReferences,
): Promise<Shared> {
  const { run, step, options } = order
  const { contextPolicy } = run.definition
  const wanted = outputsWanted(order, inputs, references)
  const wantsHistory = contextPolicy.shareConversationHistory || references.history
  const history = wantsHistory ? (await ports.historyOf(run)).filter((message) => message.id !== run.inputMessageId) : []
  const attachments = options.visible.length === 0 || step.inputFrom === 'original' ? run.attachments : []
  if (wanted.length === 0 && history.length === 0 && attachments.length === 0) return NOTHING_SHARED
  const sources = new Map<ContextPiece, StepResult | Message | 'attachment'>()
  for (const message of history) sources.set(historyPiece(message), message)
  for (const { name, text = '' } of attachments)
    sources.set({ kind: 'attachment', piece: name, text, required: false }, 'attachment')
  for (const { result, required } of wanted) {
    sources.set({ kind: 'step_output', piece: result.stepId, from: result.provider, text: result.output ?? '', required }, result)
  }
  const pieces = [...sources.keys()]
  const onlyOwn = pieces.every((piece) => piece.kind === 'step_output' && piece.from === target.provider)
  const shared = await ports.shareContext({
    userId: run.userId,
    stepId: step.id,
    to: target.provider,
    policy: onlyOwn ? undefined : await ports.dataSharing.get(run.userId, target.provider),
    contextPolicy,
    pieces,
    countTokens: (text) => ports.tokens.count(text, ports.vendorOf(target.provider), target.model),
  })
  return gather(shared, pieces, sources)
}

function gather(
  shared: SharedContext,
  pieces: readonly ContextPiece[],
  sources: ReadonlyMap<ContextPiece, StepResult | Message | 'attachment'>,
): Shared {
  const byName = new Map(pieces.map((piece) => [`${piece.kind} ${piece.piece}`, sources.get(piece)]))
  const outputs: { result: StepResult; text: string }[] = []
  const history: Message[] = []
  const attachments: PromptSection[] = []
  for (const piece of shared.visible) {
    const source = byName.get(`${piece.kind} ${piece.piece}`)
    if (source === undefined) continue
    if (source === 'attachment') attachments.push({ label: piece.piece, text: piece.text })
    else if ('stepId' in source) outputs.push({ result: source, text: piece.text })
    else history.push({ ...source, content: piece.text })
  }
  return { outputs, history, attachments, decisions: shared.decisions, notes: shared.notes }
}

const historyPiece = (message: Message): ContextPiece => ({
  kind: 'conversation_history',
  piece: message.id,
  from: typeof message.metadata.provider === 'string' ? message.metadata.provider : undefined,
  text: message.content,
  required: false,
})

/** Outputs the step is to get, each once; those it names are required. With `shareStepOutputs: false` none is: the author hid them. */
function outputsWanted(
  { run, step, options }: StepOrder,
  inputs: readonly StepResult[],
  references: StepReferences,
): readonly { readonly result: StepResult; readonly required: boolean }[] {
  const hidden = !run.definition.contextPolicy.shareStepOutputs
  const named = options.input !== undefined || (step.inputFrom !== undefined && step.inputFrom !== 'all')
  const used = (references.input || references.previous) && step.inputFrom !== 'all'
  const wanted = new Map<StepResult, boolean>()
  for (const result of inputs) wanted.set(result, (named || used) && !hidden)
  const visible = latest(options.visible)
  if (references.previous) for (const result of visible.slice(-1)) wanted.set(result, !hidden)
  for (const result of visible) {
    if (references.allSteps || references.steps.includes(result.stepId)) wanted.set(result, !hidden)
  }
  return [...wanted].map(([result, required]) => ({ result, required }))
}
