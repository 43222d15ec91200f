import * as z from 'zod'
import type { FlowStatusReport, OrchestrationFlow } from '../../../domain/execution/flow.ts'
import type { StepResult } from '../../../domain/execution/step-result.ts'
import { SETTLED } from '../../../domain/vocabulary.ts'
import type { ErrorInfo } from '../../../errors/orchestrator-error.ts'
import type { WaitingStep } from '../../../orchestrator/waiting/waiting-list.ts'
import { flowResult, flowStatusReport, flowSummary, stepResult } from '../../../protocol/flow.ts'
import { arrayOf } from '../../../protocol/instant.ts'
import type { ToolAnswer, ToolInvocation } from './tool.ts'
import { remedyOf } from './tool-error.ts'

/** State of a flow, as all tools return it. */
export const flowState = z.object({
  ...flowStatusReport.omit({ currentStepIndex: true }).shape,
  ...flowSummary.pick({ threadId: true, name: true, flowType: true, parentFlowId: true, simulated: true }).shape,
  ended: z.boolean().describe('true: nothing more happens until the flow is started again'),
  // Short, because every tool that returns a flow lists this schema; list_waiting describes the whole entry.
  waiting: arrayOf(z.looseObject({ path: z.string(), hash: z.string() }))
    .optional()
    .describe('As in list_waiting'),
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
  const { flow, status, waiting } = await readFlow(call, flowId, 'final')
  const state = toState(flow, status, waiting)
  return { value: state, text: toText(state, flow.error, waiting) }
}

/**
 * Reads the state of a flow with its steps. `withOutputs`: with the output of each step. Rejects with FLOW_NOT_FOUND.
 */
export async function readFlowWithSteps(
  call: ToolInvocation,
  flowId: string,
  withOutputs: boolean,
): Promise<ToolAnswer<z.output<typeof flowStateWithSteps>>> {
  const { flow, status, waiting } = await readFlow(call, flowId, 'all')
  const state = toState(flow, status, waiting)
  const steps = withOutputs ? flow.stepResults : flow.stepResults.map(withoutText)
  const lines = flow.stepResults.map((step) => toStepText(step, withOutputs))
  return { value: { ...state, input: flow.input, steps }, text: [toText(state, flow.error, waiting), ...lines].join('\n\n') }
}

/**
 * A step without its output and quotations. Titles and URLs of its sources stay, because the final output may refer to
 * them.
 */
const withoutText = ({ output, sources, ...step }: StepResult) =>
  sources ? { ...step, sources: sources.map(({ text, ...source }) => source) } : step

interface FlowRead {
  readonly flow: OrchestrationFlow
  readonly status: FlowStatusReport
  /** Of a paused flow. */
  readonly waiting?: readonly WaitingStep[]
}

async function readFlow(
  { deps: { orchestrator }, caller: { userId } }: ToolInvocation,
  flowId: string,
  steps: 'all' | 'final',
): Promise<FlowRead> {
  const status = await orchestrator.getFlowStatus(flowId, userId)
  const flow = await orchestrator.getFlow(flowId, userId, { steps })
  // The flow may have changed between the two reads.
  const current = flow.status === status.status ? status : await orchestrator.getFlowStatus(flowId, userId)
  if (flow.status !== 'PAUSED') return { flow, status: current }
  return { flow, status: current, waiting: await orchestrator.listWaiting(userId, { flowId }) }
}

function toState(flow: OrchestrationFlow, report: FlowStatusReport, waiting: FlowRead['waiting']): FlowState {
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
    ended: SETTLED.includes(status),
    waiting: waiting?.map((step) => ({ ...step })),
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
  PAUSED: 'It is paused and goes on by itself when what it waits for has come:',
  COMPLETED: 'Its final output:',
  FAILED: 'It failed; recorded results are kept.',
  CANCELLED: 'It was cancelled; call start_flow with this flowId to resume it.',
}

function toText(state: FlowState, error: ErrorInfo | undefined, waiting: FlowRead['waiting'] = []): string {
  const { flowId, name, status, completedSteps, totalSteps, progress, totalCost, unpricedSteps, simulated } = state
  const cost =
    totalCost === undefined ? '' : `, US$ ${totalCost}${unpricedSteps ? ` and ${unpricedSteps} steps without a known price` : ''}`
  const about = `${completedSteps} of ${totalSteps} steps, ${progress} %${cost}${simulated ? ', simulated: no model wrote this' : ''}`
  const lines = [`Flow "${name}" (flowId ${flowId}) is ${status}: ${about}.`, NEXT[status]]
  lines.push(...waiting.map(toWaitingText))
  if (error && status !== 'COMPLETED') lines.push(`${error.code}: ${error.message}`, remedyOf(error.code))
  if (state.finalOutput !== undefined) lines.push('', state.finalOutput)
  return lines.join('\n')
}

/** What a step waits for, for a model that must ask its user. */
export function toWaitingText(step: Omit<WaitingStep, 'flowId' | 'threadId'>): string {
  const { path, kind, prompt, show, schema, event, correlation, deadline, hash, mayAnswer } = step
  const until = deadline ? ` until ${deadline.toISOString()}` : ''
  const of = correlation === undefined ? '' : ` with correlation "${correlation}"`
  if (kind === 'wait' && event === undefined) return `Step "${path}" waits${until}.`
  if (kind === 'wait') return `Step "${path}" waits for the event "${event}"${of}${until} (hash ${hash}).`
  if (kind === 'caller')
    return `Step "${path}" waits for the result of the tool "${event}"${of}${until} (hash ${hash}), which was called with ${show}. Pass the result on with answer_waiting, as data.`
  const next = mayAnswer
    ? 'Ask the user, who alone decides, and pass the answer on with answer_waiting.'
    : 'Somebody else decides: this user may not.'
  const lines = [`Step "${path}" waits for a decision${until} (hash ${hash}): ${prompt ?? ''}`, next]
  if (show !== undefined) lines.push('It shows:', show)
  if (schema) lines.push(`With an approval it needs data of this JSON Schema: ${JSON.stringify(schema)}`)
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
