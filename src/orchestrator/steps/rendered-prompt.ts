import { untilCancelled } from '../../async/until-cancelled.ts'
import type { FlowStep, PromptFunction, Target } from '../../domain/definition/flow-definition.ts'
import type { PromptScope, StepView } from '../../domain/definition/prompt-scope.ts'
import { SharingDeniedError } from '../../domain/execution/sharing-denied.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import type { Message } from '../../domain/users/thread.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { DataSharingService, DecideSharing } from '../../policies/policy.ts'
import { actionPrompt, type PromptSection } from '../../prompts/action-prompt.ts'
import { stepPlanOf } from '../../prompts/step-plan.ts'
import { compileTemplate } from '../../prompts/template.ts'
import { createStepContext } from './step-context.ts'
import { latestSuccesses, type Shared, type StepTask, writerOf } from './step-inputs.ts'

export interface RenderDeps {
  readonly decideSharing: DecideSharing
  readonly dataSharing: DataSharingService
}

/** Prompt and system prompt of a step as text, before inputs and history are added. */
export interface RenderedPrompt {
  readonly prompt: string
  readonly system?: string
  /** Whether a prompt function read the user's prompt. */
  readonly readOriginal: boolean
  /** Whether a prompt function read the output of a step. */
  readonly readOutputs: boolean
}

/**
 * Renders the prompts of a step, whether they are templates or functions. Rejects with STEP_FAILED, STEP_TIMEOUT or
 * DATA_SHARING_DENIED.
 */
export async function renderPrompt(
  deps: RenderDeps,
  task: StepTask,
  target: Target,
  scope: PromptScope,
  shared: Shared,
): Promise<RenderedPrompt> {
  const { step, run } = task
  const templates = renderTemplates(task, scope)
  if (!stepPlanOf(run.definition, step).offersAll) return templates
  const read = { original: false, output: false }
  const context = await functionContext(deps, task, target, shared, (textKind) => {
    read[textKind] = true
  })
  const call = (source: PromptFunction) => bounded(task, callPrompt(step, source, context))
  const prompt = typeof step.prompt === 'function' ? await call(step.prompt) : templates.prompt
  const system = typeof step.system === 'function' ? await call(step.system) : templates.system
  return { prompt, system, readOriginal: read.original, readOutputs: read.output }
}

/** The names that templates read. Holds only outputs that the target may see. */
export function toScope(
  { run, options, iteration }: StepTask,
  outputs: ReadonlyMap<StepResult, string>,
  inputs: readonly PromptSection[],
  history: readonly Message[],
): PromptScope {
  const steps: Record<string, StepView> = {}
  for (const result of options.visible) if (result.status !== 'SUCCESS') steps[result.stepId] ??= { status: result.status }
  for (const [result, output] of outputs) {
    // The parsed form is left out too, because it would expose the full text of a shortened output.
    const isWhole = output === result.output
    steps[result.stepId] = {
      output,
      status: result.status,
      parsed: isWhole ? result.parsed : undefined,
      samples: isWhole ? result.samples : undefined,
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

function renderTemplates({ run, step }: StepTask, scope: PromptScope): RenderedPrompt {
  return {
    prompt: step.prompt === 'original' ? run.input : (renderTemplate(step.prompt, scope) ?? actionPrompt(step.action)),
    system: renderTemplate(step.system, scope),
    readOriginal: false,
    readOutputs: false,
  }
}

const renderTemplate = (source: FlowStep['prompt'], scope: PromptScope): string | undefined =>
  typeof source === 'string' ? compileTemplate(source).render(scope) : undefined

/** A prompt function may never settle, so the step's timeout and cancellation stop waiting for it, as for a call. */
function bounded<T>({ run, step, options }: StepTask, work: Promise<T>): Promise<T> {
  const limitMs = step.timeout ?? run.options.stepTimeoutMs
  const error = () =>
    new OrchestratorError('STEP_TIMEOUT', `Expected the prompt function of step "${step.id}" to return within ${limitMs} ms`, {
      details: { stepId: step.id, timeoutMs: limitMs },
    })
  return untilCancelled(work, [run.cancellation, options.cancellation], limitMs === undefined ? undefined : { limitMs, error })
}

async function functionContext(
  deps: RenderDeps,
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
    const message = `The prompt of step "${step.id}" reads the output of "${result.stepId}" (${item.from}), which may not go to ${target.provider}: ${decision.rule}`
    throw new SharingDeniedError(message, step.id, decision)
  }
  // Sharing of attachments and metadata was not decided with the message, so the function gets neither.
  const messages = history.map((message) => ({ ...message, attachments: undefined, metadata: {} }))
  return createStepContext({ run, step, iteration, visible: options.visible, history: messages, reveal, onRead })
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
