import * as z from 'zod'
import type { FlowStatusReport, OrchestrationFlow } from '../../../domain/execution/flow.ts'
import type { StepResult } from '../../../domain/execution/step-result.ts'
import { SETTLED } from '../../../domain/vocabulary.ts'
import type { ErrorInfo } from '../../../errors/orchestrator-error.ts'
import { flowResult, flowStatusReport, flowSummary, stepResult } from '../../../protocol/flow.ts'
import { arrayOf } from '../../../protocol/instant.ts'
import type { ToolAnswer, ToolInvocation } from './tool.ts'
import { remedyOf } from './tool-error.ts'

/** State of a flow, as all tools return it. */
export const flowState = z.object({
  ...flowStatusReport.omit({ currentStepIndex: true }).shape,
  ...flowSummary.pick({ threadId: true, name: true, flowType: true, parentFlowId: true, simulated: true }).shape,
  ended: z.boolean().describe('true: nothing more happens until the flow is started again'),
  ...flowResult.pick({ finalOutput: true, totalCost: true, totalTokens: true, unpricedSteps: true, stopReason: true }).partial()
    .shape,
})
type FlowState = z.output<typeof flowState>

const stepState = stepResult.pick({
  stepId: true,
  iteration: true,
  status: true,
  provider: true,
  model: true,
  action: true,
  output: true,
  cost: true,
  executionTime: true,
  error: true,
  notes: true,
  sources: true,
})

/** State of a flow with the results of its steps. */
export const flowStateWithSteps = z.object({ ...flowState.shape, input: z.string().optional(), steps: arrayOf(stepState) })

/** Reads the current state of a flow. Rejects with FLOW_NOT_FOUND. */
export async function readFlowState(call: ToolInvocation, flowId: string): Promise<ToolAnswer<FlowState>> {
  const [flow, status] = await readFlow(call, flowId, 'final')
  const state = toState(flow, status)
  return { value: state, text: toText(state, flow.error) }
}

/**
 * Reads the state of a flow with its steps. `withOutputs`: with the output of each step. Rejects with FLOW_NOT_FOUND.
 */
export async function readFlowWithSteps(
  call: ToolInvocation,
  flowId: string,
  withOutputs: boolean,
): Promise<ToolAnswer<z.output<typeof flowStateWithSteps>>> {
  const [flow, status] = await readFlow(call, flowId, 'all')
  const state = toState(flow, status)
  const steps = withOutputs ? flow.stepResults : flow.stepResults.map(withoutText)
  const lines = flow.stepResults.map((step) => toStepText(step, withOutputs))
  return { value: { ...state, input: flow.input, steps }, text: [toText(state, flow.error), ...lines].join('\n\n') }
}

/**
 * A step without its output and quotations. Titles and URLs of its sources stay, because the final output may refer to
 * them.
 */
const withoutText = ({ output, sources, ...step }: StepResult) =>
  sources ? { ...step, sources: sources.map(({ text, ...source }) => source) } : step

type FlowRead = readonly [flow: OrchestrationFlow, status: FlowStatusReport]

async function readFlow(
  { deps: { orchestrator }, caller: { userId } }: ToolInvocation,
  flowId: string,
  steps: 'all' | 'final',
): Promise<FlowRead> {
  const status = await orchestrator.getFlowStatus(flowId, userId)
  const flow = await orchestrator.getFlow(flowId, userId, { steps })
  // The flow may have changed between the two reads.
  return [flow, flow.status === status.status ? status : await orchestrator.getFlowStatus(flowId, userId)]
}

function toState(flow: OrchestrationFlow, report: FlowStatusReport): FlowState {
  const { threadId, name, flowType, parentFlowId, simulated, status, error, result } = flow
  const { finalOutput, totalCost, totalTokens, unpricedSteps, stopReason } = result ?? {}
  return {
    ...report,
    status,
    error,
    threadId,
    name,
    flowType,
    parentFlowId,
    simulated,
    ended: SETTLED.includes(status) || status === 'PAUSED',
    finalOutput,
    totalCost,
    totalTokens,
    unpricedSteps,
    stopReason,
  }
}

const NEXT: { readonly [Status in FlowState['status']]: string } = {
  PENDING: 'It is not started: call start_flow with this flowId.',
  RUNNING: 'It is still running: call follow_flow with this flowId to wait for its end.',
  PAUSED: 'It is paused: call start_flow with this flowId to resume it.',
  COMPLETED: 'Its final output:',
  FAILED: 'It failed; recorded results are kept.',
  CANCELLED: 'It was cancelled; call start_flow with this flowId to resume it.',
}

function toText(state: FlowState, error: ErrorInfo | undefined): string {
  const { flowId, name, status, completedSteps, totalSteps, progress, totalCost, unpricedSteps, simulated } = state
  const cost =
    totalCost === undefined ? '' : `, US$ ${totalCost}${unpricedSteps ? ` and ${unpricedSteps} steps without a known price` : ''}`
  const about = `${completedSteps} of ${totalSteps} steps, ${progress} %${cost}${simulated ? ', simulated: no model wrote this' : ''}`
  const lines = [`Flow "${name}" (flowId ${flowId}) is ${status}: ${about}.`, NEXT[status]]
  if (error && status !== 'COMPLETED') lines.push(`${error.code}: ${error.message}`, remedyOf(error.code))
  if (state.finalOutput !== undefined) lines.push('', state.finalOutput)
  return lines.join('\n')
}

function toStepText(step: StepResult, withOutput: boolean): string {
  const { stepId, iteration, status, provider, model, output, error, notes, sources = [] } = step
  const lines = [`Step "${stepId}"${iteration > 1 ? ` #${iteration}` : ''} (${provider}/${model}): ${status}`]
  if (error) lines.push(`${error.code}: ${error.message}`)
  if (withOutput && output !== undefined) lines.push(output)
  for (const note of notes) lines.push(`Note: ${note}`)
  const named = sources.map(({ title, url }) => [title, url].filter((part) => part !== undefined).join(' '))
  for (const source of new Set(named)) if (source !== '') lines.push(`Source: ${source}`)
  return lines.join('\n')
}
