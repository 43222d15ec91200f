import { parseOutputSchema } from '../../../domain/answers/output-schema.ts'
import { readStructured } from '../../../domain/answers/structured-output.ts'
import type { OrchestrationFlow } from '../../../domain/execution/flow.ts'
import type { FlowUpdate } from '../../../domain/execution/flow-update.ts'
import type { StepResult } from '../../../domain/execution/step-result.ts'
import type { FlowStatus } from '../../../domain/vocabulary.ts'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import { BETWEEN_TEXTS, type FlowPart, flowPartsOf, partsByStep } from './flow-parts.ts'
import { type ParsedWorkflow, readWorkflow, type WorkflowExecution, type WorkflowStep } from './workflow.ts'
import { phaseOf } from './workflow-definition.ts'

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
export function createExecutionRecord(id: string, workflow: ParsedWorkflow) {
  const startTime = new Date()
  const all = flowPartsOf(workflow)
  const parts = new Map(all.map((part) => [part.flowId, part]))
  const byStep = partsByStep(all)
  /** Ids of steps of the flow. */
  const running = new Set<string>()
  const completed = new Set<string>()
  const failed = new Set<string>()
  const values = new Map<string, unknown>()
  let status: WorkflowExecution['status'] = 'pending'
  let endTime: Date | undefined
  let error: OrchestratorError | undefined
  let simulated = false

  function ended({ flowId, step }: FlowPart, result: StepResult): void {
    running.delete(flowId)
    simulated ||= result.simulated
    if (result.status === 'SUCCESS') {
      failed.delete(flowId)
      completed.add(flowId)
      values.set(flowId, stepValue(result, step))
    } else if (result.status === 'FAILED') failed.add(flowId)
  }

  const stepIds = (flowIds: Iterable<string>) => [...new Set([...flowIds].flatMap((flowId) => parts.get(flowId)?.step.id ?? []))]

  return {
    id,
    /** By id of the step of the flow. */
    parts,
    add(update: FlowUpdate): void {
      const part = update.stepId === undefined ? undefined : parts.get(update.stepId)
      if (update.type === 'flow_start') simulated ||= update.data.simulated
      if (!part) return
      if (update.type === 'step_start') running.add(part.flowId)
      if (update.type === 'step_complete') ended(part, update.data)
      if (update.type === 'step_skipped' && !part.step.assignees) {
        values.set(part.flowId, skippedValue(part.step, update.data.reason))
      }
    },
    addResult(result: StepResult): void {
      const part = parts.get(result.stepId)
      if (part) ended(part, result)
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
      const currentStep = stepIds(running).at(-1)
      const failedSteps = stepIds(failed)
      return {
        id,
        workflowId: workflow.id,
        status,
        startTime,
        ...(endTime && { endTime }),
        ...(currentStep !== undefined && { currentStep }),
        completedSteps: stepIds(completed).filter((step) => !failedSteps.includes(step)),
        failedSteps,
        results: toResults(byStep, values),
        ...(error && { error }),
        simulated,
      }
    },
  }
}

/** The value of every step that has one; what several agents wrote is one text. */
function toResults(byStep: ReadonlyMap<string, readonly FlowPart[]>, values: ReadonlyMap<string, unknown>) {
  const results = [...byStep].flatMap(([stepId, parts]) => {
    const known = parts.flatMap(({ flowId }) => (values.has(flowId) ? [values.get(flowId)] : []))
    if (known.length === 0) return []
    return [[stepId, known.length === 1 ? known[0] : known.join(BETWEEN_TEXTS)] as const]
  })
  // An assignment to the name `__proto__` would change the object and add nothing to it.
  return Object.fromEntries(results)
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
  const record = createExecutionRecord(flow.id, workflow)
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
