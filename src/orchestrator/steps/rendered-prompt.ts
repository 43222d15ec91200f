import { untilCancelled } from '../../async/until-cancelled.ts'
import type { FlowStep, PromptFunction, Target } from '../../domain/definition/flow-definition.ts'
import type { PromptScope, StepView } from '../../domain/definition/prompt-scope.ts'
import { callerMetadata, hasCallerMetadata } from '../../domain/execution/request-instructions.ts'
import { SharingDeniedError } from '../../domain/execution/sharing-denied.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import { describeDenial } from '../../domain/users/origins.ts'
import type { SharingDecision } from '../../domain/users/sharing.ts'
import type { Message } from '../../domain/users/thread.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { DataSharingService, DecideSharing } from '../../policies/policy.ts'
import { actionPrompt, type PromptSection } from '../../prompts/action-prompt.ts'
import { stepPlanOf } from '../../prompts/step-plan.ts'
import { compileTemplate } from '../../prompts/template.ts'
import { outputItem } from '../provenance/result-origins.ts'
import { createStepContext } from './step-context.ts'
import { latestSuccesses, type Shared, type StepTask } from './step-inputs.ts'

export interface RenderDeps {
  readonly decideSharing: DecideSharing
  readonly dataSharing: DataSharingService
}

/** Prompt and system prompt of a step as text, before inputs and history are added. */
export interface RenderedPrompt {
  readonly prompt: string
  readonly system?: string
  /** What the prompt functions read; absent without any. */
  readonly read?: FunctionReads
}

/** What the prompt functions of a step read while they ran. */
export interface FunctionReads {
  readonly original: boolean
  readonly outputs: ReadonlySet<StepResult>
  /** The decision about metadata; absent if no function read any. */
  readonly metadata?: SharingDecision
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
  const read: MutableReads = { original: false, outputs: new Set() }
  const context = await functionContext(deps, task, target, shared, read)
  const call = (source: PromptFunction) => bounded(task, callPrompt(step, source, context))
  const prompt = typeof step.prompt === 'function' ? await call(step.prompt) : templates.prompt
  const system = typeof step.system === 'function' ? await call(step.system) : templates.system
  return { prompt, system, read }
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
    // The other forms of the answer are left out too, because they would expose the full text of a shortened output.
    const isWhole = output === result.output
    steps[result.stepId] = {
      output,
      status: result.status,
      parsed: isWhole ? result.parsed : undefined,
      samples: isWhole ? result.samples : undefined,
      sources: isWhole ? (result.sources ?? []) : undefined,
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
    metadata: callerMetadata(run.options.metadata),
    history: history.map(({ role, content }) => ({ role, content })),
  }
}

function renderTemplates({ run, step }: StepTask, scope: PromptScope): RenderedPrompt {
  return {
    prompt: step.prompt === 'original' ? run.input : (renderTemplate(step.prompt, scope) ?? actionPrompt(step.action)),
    system: renderTemplate(step.system, scope),
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

interface MutableReads {
  original: boolean
  readonly outputs: Set<StepResult>
  metadata?: SharingDecision
}

async function functionContext(
  deps: RenderDeps,
  { run, step, options, iteration }: StepTask,
  target: Target,
  { outputs, history }: Shared,
  read: MutableReads,
) {
  const policy = await deps.dataSharing.get(run.userId, target.provider)
  const { shareStepOutputs, provenance } = run.definition.contextPolicy
  const reveal = (result: StepResult): StepResult => {
    read.outputs.add(result)
    const text = outputs.get(result)
    if (text !== undefined && text === result.output) return result
    const item = { kind: 'step_output' as const, name: result.stepId, ...outputItem(run, result, target.provider) }
    const decision = deps.decideSharing(item, target.provider, policy, provenance)
    if (!shareStepOutputs || decision.allowed) {
      // What does not fit into the bound on shared text is left out with everything else that the answer held.
      const rest = { parsed: undefined, samples: undefined, refusal: undefined, sources: undefined }
      return { ...result, output: text, ...rest, files: undefined, toolCalls: undefined }
    }
    const message = `The prompt of step "${step.id}" reads the output of "${result.stepId}" (${item.from}), ${describeDenial(decision)}`
    throw new SharingDeniedError(message, step.id, decision)
  }
  const onMetadata = () => {
    if (!hasCallerMetadata(run.options.metadata)) return
    const decision = deps.decideSharing({ kind: 'metadata', name: 'metadata' }, target.provider, policy, provenance)
    read.metadata = decision
    if (decision.allowed) return
    throw new SharingDeniedError(`The prompt of step "${step.id}" reads metadata, ${describeDenial(decision)}`, step.id, decision)
  }
  const onOriginal = () => {
    read.original = true
  }
  // Sharing of attachments and metadata was not decided with the message, so the function gets neither.
  const messages = history.map((message) => ({ ...message, attachments: undefined, metadata: {} }))
  return createStepContext({ run, step, iteration, visible: options.visible, history: messages, reveal, onOriginal, onMetadata })
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
