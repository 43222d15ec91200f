import type { OrchestrationFlow, OrchestrationFlowSummary } from '../../domain/execution/flow.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import type { FlowStatus } from '../../domain/vocabulary.ts'
import type { ErrorInfo } from '../../errors/orchestrator-error.ts'
import type { WorkflowReport, WorkflowStatus, WorkflowTask } from '../../protocol/workflow.ts'
import { type StoredWorkflow, storedWorkflow } from './workflow-definition.ts'

type TaskStatus = WorkflowTask['status']

/** A flow as a workflow. One that was not submitted as a workflow is shown with its steps as tasks. */
export function toWorkflow(flow: OrchestrationFlow): WorkflowReport {
  const { type, tasks, metadata } = storedWorkflow.safeParse(flow.metadata?.workflow).data ?? describe(flow)
  const results = new Map<string, StepResult>()
  for (const result of flow.stepResults) results.set(result.stepId, result)
  const stepOf = new Map(tasks.map(({ agentId, stepId }) => [agentId, stepId]))
  const shown = tasks.map((task): WorkflowTask => {
    const result = results.get(task.stepId)
    const isReady = task.inputs.every((input) => results.has(stepOf.get(input) ?? ''))
    return {
      task_id: task.agentId,
      agent_id: task.agentId,
      agent_role: task.role,
      agent: task.agent ?? task.role,
      status: result ? TASK_STATUS[result.status] : unsettled(flow.status, isReady),
      depends_on: task.inputs,
      started_at: result?.startedAt.toISOString() ?? null,
      completed_at: result?.completedAt.toISOString() ?? null,
      result: result?.status === 'SUCCESS' ? toTaskResult(result) : null,
      error: toError(result?.error),
    }
  })
  return {
    workflow_id: flow.id,
    workflow_type: type,
    status: WORKFLOW_STATUS[flow.status]((status) => shown.some((task) => task.status === status)),
    created_at: flow.createdAt.toISOString(),
    started_at: flow.startedAt?.toISOString() ?? null,
    completed_at: flow.completedAt?.toISOString() ?? null,
    tasks: shown,
    error: toError(flow.error),
    metadata,
  }
}

/** The status of a flow of a list as that of a workflow. Where a step ran several times, `toWorkflow` decides. */
export function toWorkflowStatus({ status, steps, stepStates }: OrchestrationFlowSummary): WorkflowStatus {
  const ids = new Set(steps.map(({ id }) => id))
  const found = new Set(stepStates.flatMap((state) => (ids.has(state.path) ? [TASK_STATUS[state.status]] : [])))
  return WORKFLOW_STATUS[status]((wanted) => found.has(wanted))
}

const describe = ({ flowType, steps, metadata = {} }: OrchestrationFlow): StoredWorkflow => ({
  type: flowType,
  metadata: { ...metadata },
  tasks: steps.map(({ id, action, agent = action, dependsOn = [] }) => ({
    stepId: id,
    agentId: id,
    role: agent,
    inputs: [...dependsOn],
  })),
})

const TASK_STATUS: Readonly<Record<StepResult['status'], TaskStatus>> = {
  PENDING: 'pending',
  RUNNING: 'running',
  SUCCESS: 'completed',
  FAILED: 'failed',
  SKIPPED: 'skipped',
  CANCELLED: 'cancelled',
}

/** The status of a task without a result. A task starts as soon as the tasks that it needs have ended. */
function unsettled(status: FlowStatus, isReady: boolean): TaskStatus {
  if (status === 'CANCELLED') return 'cancelled'
  if (status === 'COMPLETED' || status === 'FAILED') return 'skipped'
  return status === 'RUNNING' && isReady ? 'running' : 'pending'
}

type HasTask = (status: TaskStatus) => boolean

const WORKFLOW_STATUS: Readonly<Record<FlowStatus, (has: HasTask) => WorkflowStatus>> = {
  PENDING: () => 'pending',
  RUNNING: () => 'running',
  PAUSED: () => 'running',
  CANCELLED: () => 'cancelled',
  COMPLETED: (has) => (has('failed') ? 'partial' : 'completed'),
  FAILED: (has) => (has('failed') && has('completed') ? 'partial' : 'failed'),
}

const toTaskResult = ({ output = '', provider, model, cost, usage, simulated }: StepResult): WorkflowTask['result'] => ({
  output,
  provider,
  model,
  cost_usd: cost ?? null,
  total_tokens: usage?.totalTokens ?? null,
  simulated,
})

const toError = (error: ErrorInfo | undefined): WorkflowReport['error'] =>
  error ? { code: error.code, message: error.message } : null
