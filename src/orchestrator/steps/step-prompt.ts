import type { PreparedRequest } from '../../calls/call.ts'
import { isBlank } from '../../domain/blank-text.ts'
import type { FlowStep, Target } from '../../domain/definition/flow-definition.ts'
import type { ModelMessage } from '../../domain/execution/model-call.ts'
import { findRequestInstructions, INSTRUCTIONS_MARK } from '../../domain/execution/request-instructions.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import type { SharingDecision } from '../../domain/users/sharing.ts'
import type { Message } from '../../domain/users/thread.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { composeUserContent, type PromptSection } from '../../prompts/action-prompt.ts'
import { stepReferences } from '../../prompts/step-references.ts'
import { toChatMessages } from './chat-messages.ts'
import { missingNotes, systemMessages, systemNotes } from './prompt-notes.ts'
import { type RenderDeps, type RenderedPrompt, renderPrompt, toScope } from './rendered-prompt.ts'
import { type StepInputsDeps, type StepTask, selectResults, shareWithTarget } from './step-inputs.ts'

export interface StepPromptDeps extends StepInputsDeps, RenderDeps {}

/** One request, ready to be sent to one target. */
export interface StepPrompt extends PreparedRequest {
  /** Every sharing decision that was made for it. */
  readonly sharing: readonly SharingDecision[]
  /** Cuts and missing inputs, for the notes of the result. */
  readonly promptNotes: readonly string[]
}

/**
 * Creates the function that builds the request for one target: it selects outputs by the step's plan, decides about
 * each context item for that provider, and renders the prompts. Called once per target, and for each sample separately.
 * Rejects with DATA_SHARING_DENIED, STEP_FAILED or STEP_TIMEOUT.
 */
export function createStepPrompt(deps: StepPromptDeps) {
  return async function prepare(task: StepTask, target: Target): Promise<StepPrompt> {
    const { step, run } = task
    const { inputs, wanted } = selectResults(task)
    const shared = await shareWithTarget(deps, task, target, wanted)
    const { outputs } = shared
    const shownInputs: PromptSection[] = []
    for (const result of inputs) {
      const text = outputs.get(result)
      if (text !== undefined) shownInputs.push({ label: result.stepId, text })
    }
    const scope = toScope(task, outputs, shownInputs, shared.history)
    const rendered = await renderPrompt(deps, task, target, scope, shared)
    const content = composeUserContent({
      prompt: rendered.prompt,
      original: mentionsOriginal(task, rendered, shownInputs) ? undefined : run.input,
      inputs: mentionsInputs(step, rendered, inputs) ? shared.attachments : [...shownInputs, ...shared.attachments],
    })
    if (isBlank(content)) throw blankPrompt(task)
    const messages = toChatMessages(shared.history, task.answer ? `${content}\n\n${task.answer.instruction}` : content)
    const system = systemText(task, rendered.system, shared.history)
    return {
      provider: target.provider,
      model: target.model,
      system,
      messages,
      settings: step.settings ?? {},
      outputSchema: task.answer?.schema,
      countInputTokens: once(() => countTokens(deps, target, system, messages)),
      sharing: shared.decisions,
      promptNotes: [...shared.notes, ...missingNotes(task), ...systemNotes(task, shared.history)],
    }
  }
}

/** A model answers a blank prompt with something unrelated, which costs money. */
function blankPrompt({ run, step, iteration }: StepTask): OrchestratorError {
  const path = `steps[${run.definition.steps.indexOf(step)}].prompt`
  const message = `Expected text in the prompt of step "${step.id}", found only blank characters: nothing was sent. Check ${path} and the outputs that it reads`
  return new OrchestratorError('STEP_FAILED', message, { details: { stepId: step.id, iteration, path } })
}

export type PrepareStep = ReturnType<typeof createStepPrompt>

function mentionsOriginal({ run, step }: StepTask, rendered: RenderedPrompt, inputs: readonly PromptSection[]): boolean {
  if (!run.definition.contextPolicy.includeOriginalPrompt) return true
  const references = stepReferences(step)
  return (
    references.original || rendered.readOriginal || (references.input && inputs.length === 0 && typeof step.prompt === 'string')
  )
}

/** Whether the prompt mentions its inputs itself, so that they are not appended to it. */
function mentionsInputs(step: FlowStep, rendered: RenderedPrompt, inputs: readonly StepResult[]): boolean {
  const references = stepReferences(step)
  if (typeof step.prompt === 'function') return rendered.readOutputs || step.inputFrom === undefined
  if (step.prompt === 'original' && step.inputFrom === undefined) return true
  if (references.input || references.previous || references.allSteps) return true
  if (step.inputFrom === undefined && references.steps.length > 0) return true
  return inputs.every((result) => references.steps.includes(result.stepId))
}

/** System messages of the conversation in their order, then the system prompt of the step. */
function systemText({ run }: StepTask, system: string | undefined, history: readonly Message[]): string | undefined {
  const { preserveSystemPrompts } = run.definition.contextPolicy
  // Instructions in the history are left out: they belong to another request, or to this one and are already at the
  // top.
  const kept = preserveSystemPrompts
    ? systemMessages(history)
        .filter(({ metadata }) => metadata[INSTRUCTIONS_MARK] !== true)
        .map(({ content }) => content)
    : []
  const texts = [findRequestInstructions(run.options.metadata), ...kept, system].filter((text) => text !== undefined)
  return texts.length === 0 ? undefined : texts.join('\n\n')
}

async function countTokens(
  deps: StepPromptDeps,
  target: Target,
  system: string | undefined,
  messages: readonly ModelMessage[],
): Promise<number> {
  const vendor = deps.vendorOf(target.provider)
  // Vendors add a few tokens of framing to each message.
  const framing = 8
  let tokens = framing
  if (system !== undefined) tokens += (await deps.tokens.count(system, vendor, target.model)) + framing
  for (const message of messages) tokens += (await deps.tokens.count(message.content, vendor, target.model)) + framing
  return tokens
}

// Cached, because each attempt of a call reads it.
function once<T>(work: () => T): () => T {
  let answer: { readonly value: T } | undefined
  return () => {
    answer ??= { value: work() }
    return answer.value
  }
}
