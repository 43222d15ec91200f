import type { FlowDefinition } from '../../domain/definition/flow-definition.ts'
import { totalsOf } from '../../domain/execution/cost.ts'
import type { FlowStatusReport, OrchestrationFlow, OrchestrationFlowSummary } from '../../domain/execution/flow.ts'
import type { FlowExecutionResult } from '../../domain/execution/flow-result.ts'
import type { FlowUpdate } from '../../domain/execution/flow-update.ts'
import { stepIdOf } from '../../domain/execution/step-path.ts'
import { type StepResult, stepResultId } from '../../domain/execution/step-result.ts'
import type { ListedFlow, StepState, StoredFlow, StoredFlowResult, StoredUpdate } from '../../repositories/repository.ts'
import { writerOf } from '../provenance/result-origins.ts'

/** A stored flow with its results, for callers. */
export function toFlow(
  flow: StoredFlow,
  definition: FlowDefinition,
  rows: readonly StepResult[],
  currentStepIndex = 0,
): OrchestrationFlow {
  const stepResults = joinSampleRows(rows)
  return {
    id: flow.id,
    threadId: flow.threadId,
    userId: flow.userId,
    name: flow.name,
    description: flow.description,
    flowType: flow.flowType,
    definition,
    steps: definition.steps,
    currentStepIndex: Math.max(currentStepIndex, furthestStep(definition, stepResults)),
    status: flow.status,
    createdAt: flow.createdAt,
    startedAt: flow.startedAt,
    completedAt: flow.completedAt,
    result: toExecutionResult(flow, stepResults),
    error: flow.error,
    input: flow.input,
    metadata: flow.metadata,
    attachments: flow.attachments,
    parentFlowId: flow.parentFlowId,
    ownerEpoch: flow.ownerEpoch,
    simulated: flow.simulated,
    stepResults,
  }
}

/** A flow of a list, for callers. */
export function toFlowSummary(
  { result, definition: _, ownerId: __, ...shown }: ListedFlow,
  definition: FlowDefinition,
  states: readonly StepState[],
  currentStepIndex = 0,
): OrchestrationFlowSummary {
  return {
    ...shown,
    definition,
    steps: definition.steps,
    stepStates: states,
    currentStepIndex: Math.max(currentStepIndex, furthestStep(definition, states)),
    result: result && shown.status === 'COMPLETED' ? withTotals(shown, result) : undefined,
  }
}

function withTotals(
  { id, status, simulated }: Pick<StoredFlow, 'id' | 'status' | 'simulated'>,
  { final: _, spent: __, ...totals }: Omit<StoredFlowResult, 'output'>,
) {
  return { ...totals, flowId: id, status, simulated }
}

/** Attempts of samples are stored with the samples; the step's own result lists them all. */
export function joinSampleRows(rows: readonly StepResult[]): StepResult[] {
  const own = rows.filter((row) => row.sample === 0)
  if (own.length === rows.length) return own
  return own.map((result) => {
    const samples = rows.filter((row) => row.sample > 0 && row.path === result.path && row.iteration === result.iteration)
    return samples.length === 0 ? result : { ...result, attempts: samples.flatMap((sample) => sample.attempts) }
  })
}

/** The step whose output is that of a settled flow. */
export const finalPaths = ({ result }: StoredFlow): readonly string[] => (result?.final ? [result.final.path] : [])

/** The outcome of a COMPLETED flow, from its row and its results. */
export function toExecutionResult(flow: StoredFlow, steps: StepResult[]): FlowExecutionResult | undefined {
  if (!flow.result || flow.status !== 'COMPLETED') return undefined
  const { output, ...result } = flow.result
  const { final } = result
  const last = final && steps.find((step) => step.path === final.path && step.iteration === final.iteration)
  return { ...withTotals(flow, result), finalOutput: last?.output ?? output ?? '', steps }
}

/** Status from a flow's row and results; `steps` may be those of a running execution. */
export function toStatusReport(
  flow: Pick<StoredFlow, 'id' | 'status' | 'startedAt' | 'completedAt' | 'error'>,
  definition: FlowDefinition,
  steps: readonly StepState[],
  currentStepIndex = furthestStep(definition, steps),
): FlowStatusReport {
  const done = new Set<string>()
  const failed = new Set<string>()
  for (const step of steps) {
    if (step.status === 'SUCCESS' || step.status === 'SKIPPED') done.add(step.path)
    if (step.status === 'FAILED') failed.add(step.path)
  }
  const totalSteps = definition.steps.length
  return {
    flowId: flow.id,
    status: flow.status,
    // Below 100 until the end, because a loop may repeat steps that are done.
    progress: flow.status === 'COMPLETED' ? 100 : Math.min(99, Math.floor((done.size / totalSteps) * 100)),
    currentStepIndex,
    totalSteps,
    completedSteps: done.size,
    failedSteps: [...failed],
    startedAt: flow.startedAt,
    completedAt: flow.completedAt,
    error: flow.error,
  }
}

function furthestStep(definition: FlowDefinition, steps: readonly StepState[]): number {
  const paths = new Set(steps.map((step) => step.path))
  return Math.max(
    0,
    definition.steps.findLastIndex((step) => paths.has(step.id)),
  )
}

/**
 * Completes stored updates with data from the step results and the flow's row. `flow` is needed only where the outcome
 * of the flow is among the updates.
 */
export function toUpdates(
  flowId: string,
  updates: readonly StoredUpdate[],
  rows: readonly StepResult[],
  flow: StoredFlow | undefined,
): readonly FlowUpdate[] {
  const steps = joinSampleRows(rows)
  return updates.map((update) => {
    const data =
      update.data ??
      (update.type === 'step_complete'
        ? steps.find((step) => step.path === update.path && step.iteration === update.iteration)
        : flow && outcomeOf(flow, steps))
    const stepId = update.path === undefined ? undefined : { stepId: stepIdOf(update.path) }
    // `update.type` determines the member of the union, which the compiler cannot derive from stored data.
    return { ...update, ...stepId, flowId, data } as FlowUpdate
  })
}

/** The outcome of a flow; one without texts if the flow has been started again since. */
const outcomeOf = (flow: StoredFlow, steps: StepResult[]): FlowExecutionResult =>
  toExecutionResult(flow, steps) ?? {
    flowId: flow.id,
    status: flow.status,
    ...totalsOf(steps),
    steps,
    finalOutput: '',
    totalExecutionTime: 0,
    simulated: flow.simulated,
  }

/** A result of another flow as a result of this one, without the attempts that the other flow has paid for. */
export function carriedInto(flowId: string, result: StepResult): StepResult {
  return {
    ...result,
    id: stepResultId(flowId, result),
    flowId,
    attempts: [],
    // Without its attempts it is unknown which provider wrote which sample, unless its origins name them.
    samples: result.origins || writerOf(result, result.provider) === result.provider ? result.samples : undefined,
    messageId: undefined,
    notes: [...result.notes, `carried over from flow ${result.flowId}`],
  }
}
