import type { PreparedRequest } from '../../calls/call.ts'
import { isBlank } from '../../domain/blank-text.ts'
import type { FlowStep, Target } from '../../domain/definition/flow-definition.ts'
import type { ModelMessage } from '../../domain/execution/model-call.ts'
import { findRequestInstructions, INSTRUCTIONS_MARK } from '../../domain/execution/request-instructions.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import type { Origin, SharingDecision } from '../../domain/users/sharing.ts'
import type { Attachment, Message } from '../../domain/users/thread.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { composeUserContent, type PromptSection } from '../../prompts/action-prompt.ts'
import { estimateFileTokens } from '../../prompts/file-tokens.ts'
import { stepReferences } from '../../prompts/step-references.ts'
import type { ProviderOperation } from '../../providers/provider.ts'
import { NO_FILES } from '../files/file-parts.ts'
import { requestOrigins } from '../provenance/request-origins.ts'
import { toChatMessages } from './chat-messages.ts'
import { missingNotes, systemMessages, systemNotes } from './prompt-notes.ts'
import { type RenderDeps, type RenderedPrompt, renderPrompt, toScope } from './rendered-prompt.ts'
import { type StableBeginningDeps, withStableBeginning } from './stable-beginning.ts'
import { filesForRequest, type StepInputsDeps, type StepTask, selectResults, shareWithTarget } from './step-inputs.ts'

export interface StepPromptDeps extends StepInputsDeps, RenderDeps, StableBeginningDeps {}

/** One request, ready to be sent to one target. */
export interface StepPrompt extends PreparedRequest {
  /** The operation that a step with action `run` calls. */
  readonly operation?: ProviderOperation
  /** Every sharing decision that was made for it. */
  readonly sharing: readonly SharingDecision[]
  /** Everything that its text was made from, over all hops. */
  readonly origins: readonly Origin[]
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
    const namesOriginal = mentionsOriginal(task, rendered, shownInputs)
    const addsOriginal = !namesOriginal && run.definition.contextPolicy.includeOriginalPrompt
    const addsInputs = !mentionsInputs(step, rendered, inputs)
    const { attached } = shared
    const generated = filesOfInputs(inputs, outputs)
    const made = generated.length === 0 ? NO_FILES : await filesForRequest(deps, task, generated)
    const composed = composeUserContent({
      prompt: rendered.prompt,
      original: addsOriginal ? run.input : undefined,
      inputs: (addsInputs ? shownInputs : []).concat(attached.texts, made.texts),
      promptLast: step.prompt === undefined,
    })
    const files = attached.files.concat(made.files)
    // A file alone is a prompt: the words may be in the system prompt.
    const content = isBlank(composed) ? '' : composed
    if (content === '' && files.length === 0) throw blankPrompt(task)
    const text = task.answer ? `${content}\n\n${task.answer.instruction}` : content
    const system = systemText(task, rendered.system, shared.history)
    const { messages, cacheKey } = withStableBeginning(deps, task, target, {
      system,
      messages: toChatMessages(shared.history, text, files),
      content: text,
      instruction: step.prompt === undefined ? text.slice(content.length - rendered.prompt.length) : '',
      scope,
    })
    return {
      provider: target.provider,
      model: target.model,
      system,
      messages,
      settings: step.settings ?? {},
      strict: step.strict || undefined,
      outputSchema: task.answer?.schema,
      cacheKey,
      countInputTokens: once(() => countTokens(deps, target, system, messages)),
      sharing: rendered.read?.metadata ? [...shared.decisions, rendered.read.metadata] : shared.decisions,
      origins: requestOrigins(task, {
        shared,
        read: rendered.read,
        inputs,
        addsInputs,
        sendsOriginal: namesOriginal || addsOriginal,
      }),
      promptNotes: [...shared.notes, ...missingNotes(task), ...systemNotes(task, shared.history)],
    }
  }
}

/** Files that other steps made, whose outputs the target may see. */
const filesOfInputs = (inputs: readonly StepResult[], outputs: ReadonlyMap<StepResult, string>): readonly Attachment[] =>
  inputs.some(({ files }) => files)
    ? inputs.filter((result) => outputs.has(result)).flatMap(({ files = [] }) => files)
    : NO_ATTACHMENTS

const NO_ATTACHMENTS: readonly Attachment[] = []

/** A model answers a blank prompt with something unrelated, which costs money. */
function blankPrompt({ run, step, iteration }: StepTask): OrchestratorError {
  const path = `steps[${run.definition.steps.indexOf(step)}].prompt`
  const message = `Expected text in the prompt of step "${step.id}", found only blank characters: nothing was sent. Check ${path} and the outputs that it reads`
  return new OrchestratorError('STEP_FAILED', message, { details: { stepId: step.id, iteration, path } })
}

export type PrepareStep = ReturnType<typeof createStepPrompt>

function mentionsOriginal({ step }: StepTask, rendered: RenderedPrompt, inputs: readonly PromptSection[]): boolean {
  const references = stepReferences(step)
  return (
    references.original ||
    rendered.read?.original === true ||
    (references.input && inputs.length === 0 && typeof step.prompt === 'string')
  )
}

/** Whether the prompt mentions its inputs itself, so that they are not appended to it. */
function mentionsInputs(step: FlowStep, rendered: RenderedPrompt, inputs: readonly StepResult[]): boolean {
  const references = stepReferences(step)
  if (typeof step.prompt === 'function') return (rendered.read?.outputs.size ?? 0) > 0 || step.inputFrom === undefined
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
  const instructions = findRequestInstructions(run.options.metadata)
  if (instructions === undefined && !preserveSystemPrompts) return system
  const kept = preserveSystemPrompts
    ? systemMessages(history)
        .filter(({ metadata }) => metadata[INSTRUCTIONS_MARK] !== true)
        .map(({ content }) => content)
    : []
  const texts = [instructions, ...kept, system].filter((text) => text !== undefined)
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
  for (const message of messages) {
    tokens += (await deps.tokens.count(message.content, vendor, target.model)) + framing
    if (message.role !== 'assistant' && message.files) {
      for (const file of message.files) tokens += estimateFileTokens(vendor, file)
    }
  }
  return tokens
}

// Cached, because each attempt of a call reads it.
export function once<T>(work: () => T): () => T {
  let answer: { readonly value: T } | undefined
  return () => {
    answer ??= { value: work() }
    return answer.value
  }
}
