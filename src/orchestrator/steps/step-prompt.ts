import { untilCancelled } from '../../async/until-cancelled.ts'
import type { PreparedRequest } from '../../calls/call.ts'
import { isBlank } from '../../domain/blank-text.ts'
import type { FlowStep, PromptFunction, Target } from '../../domain/definition/flow-definition.ts'
import type { PromptScope, StepView } from '../../domain/definition/prompt-scope.ts'
import type { ModelMessage } from '../../domain/execution/model-call.ts'
import { findRequestInstructions, INSTRUCTIONS_MARK } from '../../domain/execution/request-instructions.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import type { SharingDecision } from '../../domain/users/sharing.ts'
import type { Message } from '../../domain/users/thread.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { DecideSharing } from '../../policies/policy.ts'
import { actionPrompt, composeUserContent, type PromptSection } from '../../prompts/action-prompt.ts'
import { stepPlanOf } from '../../prompts/step-plan.ts'
import { stepReferences } from '../../prompts/step-references.ts'
import { compileTemplate } from '../../prompts/template.ts'
import { toChatMessages } from './chat-messages.ts'
import { missingNotes, systemMessages, systemNotes } from './prompt-notes.ts'
import { createStepContext } from './step-context.ts'
import {
  latestSuccesses,
  type Shared,
  type StepInputsDeps,
  type StepTask,
  selectResults,
  shareWithTarget,
  writerOf,
} from './step-inputs.ts'

export interface StepPromptDeps extends StepInputsDeps {
  readonly decideSharing: DecideSharing
}

export interface StepPrompt extends PreparedRequest {
  readonly sharing: readonly SharingDecision[]
  readonly promptNotes: readonly string[]
}

/** Builds what one target gets: decides every piece of context anew for that provider, then renders. */
export function createStepPrompt(deps: StepPromptDeps) {
  return async function prepare(order: StepTask, target: Target): Promise<StepPrompt> {
    const { step, run } = order
    const { inputs, wanted } = selectResults(order)
    const shared = await shareWithTarget(deps, order, target, wanted)
    const { outputs } = shared
    const shownInputs: PromptSection[] = []
    for (const result of inputs) {
      const text = outputs.get(result)
      if (text !== undefined) shownInputs.push({ label: result.stepId, text })
    }
    const scope = toScope(order, outputs, shownInputs, shared.history)
    const written = stepPlanOf(run.definition, step).offersAll
      ? await call(deps, order, target, scope, shared)
      : render(order, scope)
    const content = composeUserContent({
      prompt: written.prompt,
      original: mentionsOriginal(order, written, shownInputs) ? undefined : run.input,
      inputs: mentionsInputs(step, written, inputs) ? shared.attachments : [...shownInputs, ...shared.attachments],
    })
    if (isBlank(content)) throw blankPrompt(order)
    const messages = toChatMessages(shared.history, order.answer ? `${content}\n\n${order.answer.instruction}` : content)
    const system = systemText(order, written.system, shared.history)
    return {
      provider: target.provider,
      model: target.model,
      system,
      messages,
      settings: step.settings ?? {},
      outputSchema: order.answer?.schema,
      countInputTokens: once(() => countTokens(deps, target, system, messages)),
      sharing: shared.decisions,
      promptNotes: [...shared.notes, ...missingNotes(order), ...systemNotes(order, shared.history)],
    }
  }
}

/** A model answers a prompt of nothing with something unrelated, which is paid for. */
function blankPrompt({ run, step, iteration }: StepTask): OrchestratorError {
  const path = `steps[${run.definition.steps.indexOf(step)}].prompt`
  const message = `Expected text in the prompt of step "${step.id}", found nothing but blanks: nothing was sent. Check ${path} and the outputs that it reads`
  return new OrchestratorError('STEP_FAILED', message, { details: { stepId: step.id, iteration, path } })
}

export type PrepareStep = ReturnType<typeof createStepPrompt>

function toScope(
  { run, options, iteration }: StepTask,
  outputs: ReadonlyMap<StepResult, string>,
  inputs: readonly PromptSection[],
  history: readonly Message[],
): PromptScope {
  const steps: Record<string, StepView> = {}
  for (const result of options.visible) if (result.status !== 'SUCCESS') steps[result.stepId] ??= { status: result.status }
  for (const [result, output] of outputs) {
    // A shortened output must not come back whole through its parsed form.
    const whole = output === result.output
    steps[result.stepId] = {
      output,
      status: result.status,
      parsed: whole ? result.parsed : undefined,
      samples: whole ? result.samples : undefined,
    }
  }
  const [only] = inputs
  const previous = latestSuccesses(options.visible).at(-1)
  return {
    original: run.input,
    input:
      only && inputs.length === 1 ? only.text : inputs.map(({ label, text }) => `[${label}]\n${text}`).join('\n\n') || run.input,
    previous: previous && outputs.get(previous),
    steps,
    iteration,
    metadata: run.options.metadata,
    history: history.map(({ role, content }) => ({ role, content })),
  }
}

interface Written {
  readonly prompt: string
  readonly system?: string
  readonly readOriginal: boolean
  readonly readOutputs: boolean
}

/** Prompts that are data. */
function render({ run, step }: StepTask, scope: PromptScope): Written {
  return {
    prompt: step.prompt === 'original' ? run.input : (rendered(step.prompt, scope) ?? actionPrompt(step.action)),
    system: rendered(step.system, scope),
    readOriginal: false,
    readOutputs: false,
  }
}

const rendered = (source: FlowStep['prompt'], scope: PromptScope): string | undefined =>
  typeof source === 'string' ? compileTemplate(source).render(scope) : undefined

/** Prompts that are code: what they read of their context is what decides. */
async function call(deps: StepPromptDeps, order: StepTask, target: Target, scope: PromptScope, shared: Shared): Promise<Written> {
  const { step } = order
  const read = { original: false, output: false }
  const context = await functionContext(deps, order, target, shared, (what) => {
    read[what] = true
  })
  const strings = render(order, scope)
  const ask = (source: PromptFunction) => bounded(order, callPrompt(step, source, context))
  const prompt = typeof step.prompt === 'function' ? await ask(step.prompt) : strings.prompt
  const system = typeof step.system === 'function' ? await ask(step.system) : strings.system
  return { prompt, system, readOriginal: read.original, readOutputs: read.output }
}

/** A prompt function may never come back: the step's time and every stop hold for it as for a call. */
function bounded<T>({ run, step, options }: StepTask, work: Promise<T>): Promise<T> {
  const limitMs = step.timeout ?? run.options.stepTimeoutMs
  const error = () =>
    new OrchestratorError('STEP_TIMEOUT', `Expected the prompt function of step "${step.id}" to return within ${limitMs} ms`, {
      details: { stepId: step.id, timeoutMs: limitMs },
    })
  return untilCancelled(work, [run.cancellation, options.cancellation], limitMs === undefined ? undefined : { limitMs, error })
}

async function functionContext(
  deps: StepPromptDeps,
  { run, step, options, iteration }: StepTask,
  target: Target,
  { outputs, history }: Shared,
  onRead: (what: 'original' | 'output') => void,
) {
  const policy = await deps.dataSharing.get(run.userId, target.provider)
  const hidden = !run.definition.contextPolicy.shareStepOutputs
  const reveal = (result: StepResult): StepResult => {
    const text = outputs.get(result)
    if (text !== undefined && text === result.output) return result
    const item = { kind: 'step_output' as const, name: result.stepId, from: writerOf(result, target.provider) }
    const decision = deps.decideSharing(item, target.provider, policy)
    if (hidden || decision.allowed) return { ...result, output: text, parsed: undefined, samples: undefined, refusal: undefined }
    throw new OrchestratorError(
      'DATA_SHARING_DENIED',
      `The prompt of step "${step.id}" reads the output of "${result.stepId}" (${item.from}), which may not go to ${target.provider}: ${decision.rule}`,
      {
        details: {
          stepId: step.id,
          kind: item.kind,
          piece: item.name,
          from: item.from,
          to: target.provider,
          rule: decision.rule,
        },
      },
    )
  }
  // Attachments have rules of their own, and nobody judged what else stands with a message.
  const told = history.map((message) => ({ ...message, attachments: undefined, metadata: {} }))
  return createStepContext({ run, step, iteration, visible: options.visible, history: told, reveal, onRead })
}

async function callPrompt(
  step: FlowStep,
  prompt: Exclude<FlowStep['prompt'], string | undefined>,
  context: Parameters<typeof prompt>[0],
) {
  let text: unknown
  try {
    text = await prompt(context)
  } catch (error) {
    if (OrchestratorError.is(error)) throw error
    throw new OrchestratorError(
      'STEP_FAILED',
      `The prompt function of step "${step.id}" threw: ${error instanceof Error ? error.name : typeof error}`,
      {
        details: { stepId: step.id },
        cause: error,
      },
    )
  }
  if (typeof text === 'string') return text
  throw new OrchestratorError(
    'STEP_FAILED',
    `The prompt function of step "${step.id}" was expected to return a string, found ${typeof text}`,
    {
      details: { stepId: step.id },
    },
  )
}

function mentionsOriginal({ run, step }: StepTask, written: Written, inputs: readonly PromptSection[]): boolean {
  if (!run.definition.contextPolicy.includeOriginalPrompt) return true
  const references = stepReferences(step)
  return (
    references.original || written.readOriginal || (references.input && inputs.length === 0 && typeof step.prompt === 'string')
  )
}

/** A prompt that speaks of outputs itself gets nothing appended. */
function mentionsInputs(step: FlowStep, written: Written, inputs: readonly StepResult[]): boolean {
  const references = stepReferences(step)
  if (typeof step.prompt === 'function') return written.readOutputs || step.inputFrom === undefined
  if (step.prompt === 'original' && step.inputFrom === undefined) return true
  if (references.input || references.previous || references.allSteps) return true
  if (step.inputFrom === undefined && references.steps.length > 0) return true
  return inputs.every((result) => references.steps.includes(result.stepId))
}

/** System messages of the conversation in their order, then that of the step. */
function systemText({ run }: StepTask, system: string | undefined, history: readonly Message[]): string | undefined {
  const { preserveSystemPrompts } = run.definition.contextPolicy
  // Instructions that stand in the history are those of another request, or of this one, which come first.
  const kept = preserveSystemPrompts
    ? systemMessages(history)
        .filter(({ metadata }) => metadata[INSTRUCTIONS_MARK] !== true)
        .map(({ content }) => content)
    : []
  const deps = [findRequestInstructions(run.options.metadata), ...kept, system].filter((part) => part !== undefined)
  return deps.length === 0 ? undefined : deps.join('\n\n')
}

async function countTokens(
  deps: StepPromptDeps,
  target: Target,
  system: string | undefined,
  messages: readonly ModelMessage[],
): Promise<number> {
  const vendor = deps.vendorOf(target.provider)
  // Vendors add a few tokens of framing to every message.
  const framing = 8
  let tokens = framing
  if (system !== undefined) tokens += (await deps.tokens.count(system, vendor, target.model)) + framing
  for (const message of messages) tokens += (await deps.tokens.count(message.content, vendor, target.model)) + framing
  return tokens
}

// Every try of a call asks.
function once<T>(work: () => T): () => T {
  let answer: { readonly value: T } | undefined
  return () => {
    answer ??= { value: work() }
    return answer.value
  }
}
