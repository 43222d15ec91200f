import * as z from 'zod'
import { toOutputJsonSchema } from '../../domain/answers/output-schema.ts'
import type { FlowStep } from '../../domain/definition/flow-definition.ts'
import type { JsonSchema } from '../../domain/execution/model-call.ts'
import { hasCallerMetadata } from '../../domain/execution/request-instructions.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import { joinOrigins, PROMPT_ONLY, toOrigin } from '../../domain/users/origins.ts'
import type { Origin } from '../../domain/users/sharing.ts'
import type { Message } from '../../domain/users/thread.ts'
import { asksSame, hashOfWait, type StepWait, type StoredWait, waitKey } from '../../domain/waiting/wait.ts'
import { DEFAULT_SHOW, ENGINE_PROVIDER, toDurationMs } from '../../domain/waiting/waiting-steps.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { PromptSection } from '../../prompts/action-prompt.ts'
import { stepReferences } from '../../prompts/step-references.ts'
import { compileTemplate } from '../../prompts/template.ts'
import type { FlowExecution, ThreadHistory } from '../flow-run.ts'
import { originsThroughMessage } from '../provenance/message-origins.ts'
import { originsThrough } from '../provenance/result-origins.ts'
import { toScope } from '../steps/rendered-prompt.ts'
import { latestSuccesses, type StepTask, selectResults } from '../steps/step-inputs.ts'
import { emptyResult, toResult } from '../steps/step-record.ts'
import type { PauseControl } from './pause-control.ts'

export interface WaitStepDeps {
  /** Implemented by createThreadHistory. */
  readonly historyOf: (run: FlowExecution) => Promise<ThreadHistory>
  readonly now: () => Date
}

export type RunWaitStep = (task: StepTask) => Promise<StepResult>

/**
 * Creates the function that runs a step without a model: it renders what is asked, waits, and makes a result of the
 * decision. A decision of an earlier execution counts only if the step still shows the same. Everything stays in this
 * system, so no data-sharing policy applies here; the result names the providers whose texts it shows.
 */
export function createWaitStep({ historyOf, now }: WaitStepDeps): RunWaitStep {
  return async (task) => {
    const { run, step, iteration } = task
    const startedAt = now()
    try {
      if (!run.pause) throw new OrchestratorError('INTERNAL', `Step "${step.id}" waits in a run that cannot pause`)
      const shown = await render(task, historyOf)
      const ended = await awaitEnd(task, run.pause, shown, startedAt)
      const base = emptyResult(run, step, iteration, ended.since)
      return withOutcome(base, ended, shown, now())
    } catch (error) {
      const draft = { startedAt, attempts: [], sharing: [], notes: [], error }
      return toResult(task, draft, now(), 0)
    }
  }
}

/** What a step asks and shows, and the providers that wrote the texts in it. */
interface Shown {
  readonly prompt?: string
  readonly show: string
  readonly correlation?: string
  readonly writers: readonly string[]
  /** Everything that they were made from, over all hops. */
  readonly origins: readonly Origin[]
}

async function render(task: StepTask, historyOf: WaitStepDeps['historyOf']): Promise<Shown> {
  const { run, step, options } = task
  const references = stepReferences(step)
  const { inputs } = selectResults(task)
  const visible = latestSuccesses(options.visible)
  const outputs = new Map([...visible, ...inputs].map((result) => [result, result.output ?? '']))
  const sections: PromptSection[] = inputs.map(({ stepId, output = '' }) => ({ label: stepId, text: output }))
  const history = references.history ? (await historyOf(run)).messages : []
  const scope = toScope(task, outputs, sections, history)
  const text = (source: string | undefined) => (source === undefined ? undefined : compileTemplate(source).render(scope))
  const named = new Set(references.steps)
  const read = visible.filter((result) => references.allSteps || named.has(result.stepId))
  const nearest = references.previous ? visible.slice(-1) : []
  const shown = [...(references.input ? inputs : []), ...nearest, ...read]
  const writers = shown.flatMap(writersOf)
  return {
    prompt: text(step.approval?.prompt),
    show: text(step.approval?.show ?? DEFAULT_SHOW) ?? '',
    correlation: text(step.correlation),
    // The conversation has no provider. Under this name it counts as the text of another provider for every target.
    writers: [...new Set(references.history ? [...writers, ENGINE_PROVIDER] : writers)],
    origins: shownOrigins(task, inputs, visible, history),
  }
}

/** What the output of the step was made from. The question to the approver is no part of it. */
function shownOrigins(
  { run, step }: StepTask,
  inputs: readonly StepResult[],
  visible: readonly StepResult[],
  history: readonly Message[],
): readonly Origin[] {
  const lists: (readonly Origin[])[] = []
  for (const source of [step.approval?.show ?? DEFAULT_SHOW, step.correlation]) {
    if (source === undefined) continue
    const references = compileTemplate(source).references
    if (references.original || (references.input && inputs.length === 0)) lists.push(PROMPT_ONLY)
    if (references.history) lists.push(...history.map(originsThroughMessage))
    if (references.metadata && hasCallerMetadata(run.options.metadata)) lists.push([toOrigin('metadata')])
    const read = visible.filter(({ stepId }) => references.allSteps || references.steps.includes(stepId))
    const nearest = references.previous ? visible.slice(-1) : []
    const shown = [...(references.input ? inputs : []), ...nearest, ...read]
    lists.push(...shown.map((result) => originsThrough(run, result)))
  }
  return joinOrigins(lists)
}

/** The providers that wrote the text of a result, over all samples and through steps that wait. */
function writersOf({ provider, writers, samples, attempts }: StepResult): readonly string[] {
  if (writers) return writers
  const sampled = samples ? attempts.filter(({ error }) => error === undefined) : []
  return [provider, ...sampled.map((attempt) => attempt.provider)]
}

async function awaitEnd(task: StepTask, control: PauseControl, shown: Shown, at: Date): Promise<StoredWait> {
  const { run, step, iteration, options } = task
  const prior = control.stored.get(waitKey({ path: step.id, iteration }))
  // The result of a wait starts when the wait does. A failed result of an earlier wait says nothing about this one.
  const hasFailed = run.prior.results.some(
    (result) =>
      result.stepId === step.id &&
      result.iteration === iteration &&
      result.status === 'FAILED' &&
      result.startedAt.getTime() === prior?.since.getTime(),
  )
  const asked = toWait(task, shown, at)
  const same = prior && asksSame(prior, asked) ? prior : undefined
  // A step that failed because its time was over waits again when the flow is executed again.
  const isOver = hasFailed && same?.decision?.timedOut === true
  if (same?.decision && !isOver) return same
  const open = isOver ? toWait(task, shown, at, same?.hash) : (same ?? asked)
  if (open !== same) {
    const { provider, model, action } = step
    const stepIndex = run.definition.steps.indexOf(step)
    run.log.emit('step_start', { provider, model, action, stepIndex, sharing: [] }, step.id, iteration)
  }
  if (open.kind === 'wait' && open.deadline && open.deadline <= at)
    return { ...open, decision: { timedOut: true }, decidedAt: at }
  return control.waitFor(open, [run.cancellation, options.cancellation])
}

function toWait({ run, step, iteration }: StepTask, shown: Shown, since: Date, after?: string): StepWait {
  const { approval } = step
  const asked: Omit<StepWait, 'hash' | 'since' | 'deadline' | 'flowId' | 'threadId'> = {
    path: step.id,
    iteration,
    kind: step.action === 'approve' ? 'approve' : 'wait',
    ...(approval && {
      prompt: shown.prompt,
      show: shown.show,
      onTimeout: approval.onTimeout ?? 'fail',
      ...(approval.schema && { schema: toJsonSchema(approval.schema) }),
      ...(approval.assignees && { assignees: approval.assignees }),
    }),
    ...(step.event !== undefined && { event: step.event }),
    ...(shown.correlation !== undefined && { correlation: shown.correlation }),
  }
  const deadline = deadlineOf(step, since)
  const { flowId, threadId } = run
  return { flowId, threadId, ...asked, hash: hashOfWait(asked, after), since, ...(deadline && { deadline }) }
}

const toJsonSchema = (schema: NonNullable<NonNullable<FlowStep['approval']>['schema']>): JsonSchema =>
  schema instanceof z.ZodType ? toOutputJsonSchema(schema) : schema

function deadlineOf(step: FlowStep, since: Date): Date | undefined {
  if (step.until !== undefined) return new Date(step.until)
  const ms = step.for === undefined ? (step.approval?.timeoutMs ?? step.timeoutMs) : toDurationMs(step.for)
  return ms === undefined ? undefined : new Date(since.getTime() + ms)
}

function withOutcome(base: StepResult, ended: StoredWait, shown: Shown, now: Date): StepResult {
  const completedAt = ended.decidedAt ?? now
  const result: StepResult = {
    ...base,
    completedAt,
    executedAt: completedAt,
    executionTime: Math.max(0, completedAt.getTime() - base.startedAt.getTime()),
    writers: shown.writers,
    origins: shown.origins,
  }
  const { decision = {}, decidedBy } = ended
  const at = completedAt.toISOString()
  if (ended.kind === 'approve' && decision.timedOut && ended.onTimeout === 'fail') {
    const message = `Nobody decided about step "${base.stepId}" before ${at}`
    const details = { flowId: base.flowId, stepId: base.stepId, iteration: base.iteration, deadline: at }
    return { ...result, status: 'FAILED', error: new OrchestratorError('APPROVAL_EXPIRED', message, { details }).toJSON() }
  }
  const output = decision.edit ?? shown.show
  return { ...result, status: 'SUCCESS', output, parsed: toParsed(ended, { ...decision, by: decidedBy ?? 'timeout', at }) }
}

type Ending = NonNullable<StoredWait['decision']> & { readonly by: string; readonly at: string }

function toParsed({ kind, event, correlation, onTimeout }: StoredWait, ending: Ending): object {
  const { timedOut = false, approved, edit, data, by, at } = ending
  const given = data === undefined ? {} : { data }
  if (kind === 'approve') {
    if (timedOut) return { approved: onTimeout === 'approve', timedOut, by, at }
    return { approved: approved === true, ...(edit !== undefined && { edit }), ...given, by, at }
  }
  if (event === undefined) return { at }
  return { event, ...(correlation !== undefined && { correlation }), timedOut, ...given, ...(timedOut ? {} : { by }), at }
}
