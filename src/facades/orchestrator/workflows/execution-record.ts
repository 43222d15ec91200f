import { parseOutputSchema } from '../../../domain/answers/output-schema.ts'
import { readStructured } from '../../../domain/answers/structured-output.ts'
import type { OrchestrationFlow } from '../../../domain/execution/flow.ts'
import type { FlowUpdate } from '../../../domain/execution/flow-update.ts'
import type { StepResult } from '../../../domain/execution/step-result.ts'
import type { FlowStatus } from '../../../domain/vocabulary.ts'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import { readWorkflow, type WorkflowExecution, type WorkflowStep } from './workflow.ts'
import { phaseOf, stepsByFlowId } from './workflow-definition.ts'

/**
 * The value of a step: what its executor returned, a phase's answer in the type of the phase, or the text where the
 * model wrote something else.
 */
export function stepValue(
  { parsed, output = '' }: Pick<StepResult, 'parsed' | 'output'>,
  { type }: Pick<WorkflowStep, 'type'>,
): unknown {
  if (parsed !== undefined) return parsed
  const schema = phaseOf(type)?.schema
  const validator = schema && parseOutputSchema(schema)
  if (!validator || !('schema' in validator)) return output
  const reading = readStructured(output, validator.schema)
  return 'value' in reading ? reading.value : output
}

/** The state of one execution, which grows with the updates of its flow. */
export function createExecutionRecord(id: string, workflowId: string, steps: ReadonlyMap<string, WorkflowStep>) {
  const startTime = new Date()
  const running = new Set<string>()
  const completed = new Set<string>()
  const failed = new Set<string>()
  const results: Record<string, unknown> = {}
  let status: WorkflowExecution['status'] = 'pending'
  let endTime: Date | undefined
  let error: OrchestratorError | undefined
  let simulated = false

  function ended(step: WorkflowStep, result: StepResult): void {
    running.delete(step.id)
    simulated ||= result.simulated
    if (result.status === 'SUCCESS') {
      failed.delete(step.id)
      completed.add(step.id)
      results[step.id] = stepValue(result, step)
    } else if (result.status === 'FAILED') failed.add(step.id)
  }

  return {
    id,
    steps,
    add(update: FlowUpdate): void {
      const step = update.stepId === undefined ? undefined : steps.get(update.stepId)
      if (update.type === 'flow_start') simulated ||= update.data.simulated
      if (!step) return
      if (update.type === 'step_start') running.add(step.id)
      if (update.type === 'step_complete') ended(step, update.data)
      if (update.type === 'step_skipped') results[step.id] = skippedValue(step, update.data.reason)
    },
    addResult(result: StepResult): void {
      const step = steps.get(result.stepId)
      if (step) ended(step, result)
    },
    started(): void {
      status = 'running'
    },
    end(outcome: 'completed' | 'failed' | 'cancelled', reason?: OrchestratorError): void {
      status = outcome
      error = reason
      endTime = new Date()
      running.clear()
    },
    /** A snapshot. */
    toExecution(): WorkflowExecution {
      const currentStep = [...running].at(-1)
      return {
        id,
        workflowId,
        status,
        startTime,
        ...(endTime && { endTime }),
        ...(currentStep !== undefined && { currentStep }),
        completedSteps: [...completed],
        failedSteps: [...failed],
        results: { ...results },
        ...(error && { error }),
        simulated,
      }
    },
  }
}

export type ExecutionRecord = ReturnType<typeof createExecutionRecord>

const STATUSES: Readonly<Record<FlowStatus, WorkflowExecution['status']>> = {
  PENDING: 'pending',
  RUNNING: 'running',
  PAUSED: 'running',
  COMPLETED: 'completed',
  FAILED: 'failed',
  CANCELLED: 'cancelled',
}

/** The execution of a stored flow; `undefined` if the flow belongs to no workflow. */
export function toStoredExecution(flow: OrchestrationFlow): WorkflowExecution | undefined {
  const workflow = readWorkflow(flow.metadata?.workflow)
  if (!workflow) return undefined
  const record = createExecutionRecord(flow.id, workflow.id, stepsByFlowId(workflow))
  for (const result of flow.stepResults) record.addResult(result)
  const { error } = flow
  return {
    ...record.toExecution(),
    status: STATUSES[flow.status],
    startTime: flow.startedAt ?? flow.createdAt,
    ...(flow.completedAt && { endTime: flow.completedAt }),
    ...(error && { error: new OrchestratorError(error.code, error.message, error) }),
    simulated: flow.simulated,
  }
}

/** A deployment that was skipped says so in the type of its phase. */
const skippedValue = ({ type }: WorkflowStep, reason: string): unknown =>
  type === 'deployment' ? { deployed: false, skipped: reason } : { skipped: reason }
