import type { OrchestrationFlow, OrchestrationFlowSummary } from '../../domain/execution/flow.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import type { SharingDecision } from '../../domain/users/sharing.ts'
import { FlowStatus } from '../../domain/vocabulary.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { formatCost, formatDuration, formatTotalCost } from '../amounts.ts'
import { toPlainLine, toPlainText, toTable, truncate, wrapText } from '../plain-text.ts'
import { cliRemedyOf } from '../report-error.ts'
import {
  type CommandContext,
  type DatabaseOptions,
  DEMO_USER,
  LOCAL_USER,
  type OpenServices,
  toFlags,
  withServices,
} from '../services.ts'
import { labelOf, toNoteLines, toSourceLines, toStepTable } from '../step-table.ts'

export interface ListOptions extends DatabaseOptions {
  readonly limit: number
  readonly status?: string
  readonly thread?: string
}

/** `polyphony flows list`: flows of the local user's threads, the demo's among them. */
export async function listCommand(context: CommandContext, options: ListOptions): Promise<void> {
  const status = toStatus(options.status)
  const flows = await withServices(context, toFlags(options), (open) => findFlows(open, options, status))
  const { terminal, json } = context
  if (json) return flows.forEach(terminal.printJson)
  if (flows.length === 0) return terminal.print('No flows yet: polyphony demo makes one.')
  const head = ['FLOW', 'STATUS', 'NAME', 'STARTED', 'TIME', 'COST', 'PROMPT']
  const [first = '', ...lines] = toTable([head, ...flows.map(toListRow)])
  terminal.print(terminal.style('dim', first))
  for (const line of lines) terminal.print(terminal.isLive ? truncate(line, terminal.columns) : line)
}

function toStatus(given: string | undefined): FlowStatus | undefined {
  if (given === undefined) return undefined
  const all = Object.values(FlowStatus)
  const status = all.find((known) => known === given.toUpperCase())
  if (status) return status
  throw new OrchestratorError('INPUT_INVALID', `--status: expected one of ${all.join(', ')}, found "${given.slice(0, 30)}"`)
}

/** Threads that are read at once. */
const PAGE = 100

async function findFlows(
  open: OpenServices,
  { limit, thread }: ListOptions,
  status: FlowStatus | undefined,
): Promise<readonly OrchestrationFlowSummary[]> {
  if (thread !== undefined) return open.orchestrator.listFlows(thread, LOCAL_USER, { limit, status })
  const own = await findFlowsOf(open, LOCAL_USER, limit, status)
  const simulated = await findFlowsOf(open, DEMO_USER, limit, status)
  return [...own, ...simulated].sort((a, b) => b.createdAt.getTime() - a.createdAt.getTime()).slice(0, limit)
}

/** Flows of the user's threads, newest threads first, until there are enough. */
async function findFlowsOf(
  { conversations, orchestrator }: OpenServices,
  userId: string,
  enough: number,
  status: FlowStatus | undefined,
): Promise<readonly OrchestrationFlowSummary[]> {
  const found: OrchestrationFlowSummary[] = []
  for (let offset = 0; ; offset += PAGE) {
    const threads = await conversations.listThreads(userId, { limit: PAGE, offset })
    for (const { id } of threads) {
      found.push(...(await orchestrator.listFlows(id, userId, { limit: enough, status })))
      if (found.length >= enough) return found
    }
    if (threads.length < PAGE) return found
  }
}

const PROMPT_WIDTH = 50

function toListRow(flow: OrchestrationFlowSummary): readonly string[] {
  const { result } = flow
  return [
    flow.id,
    flow.status,
    toPlainLine(flow.name),
    (flow.startedAt ?? flow.createdAt).toISOString().slice(0, 16).replace('T', ' '),
    result ? formatDuration(result.totalExecutionTime) : '',
    result ? formatTotalCost(result) : flow.simulated ? 'simulated' : '',
    truncate(toPlainLine(flow.inputStart ?? flow.definition.input ?? ''), PROMPT_WIDTH),
  ]
}

/** `polyphony flows show <id>`. */
export async function showCommand(context: CommandContext, flowId: string, options: DatabaseOptions): Promise<void> {
  const flow = await withServices(context, toFlags(options), ({ orchestrator }) => orchestrator.getFlow(flowId, LOCAL_USER))
  if (context.json) return context.terminal.printJson(flow)
  show(context, flow)
}

function show({ terminal }: CommandContext, flow: OrchestrationFlow): void {
  const { style } = terminal
  const simulated = flow.simulated ? `  ${style(['black', 'bgYellow'], ' SIMULATED ')}` : ''
  terminal.print(`${style('bold', toPlainLine(flow.name))}  ${flow.status}${simulated}`)
  const facts = [
    ['flow', flow.id],
    ['thread', flow.threadId],
    ['type', flow.flowType],
    ['created', flow.createdAt.toISOString()],
    ...(flow.parentFlowId ? [['rerun of', flow.parentFlowId]] : []),
    ...(flow.result?.stopReason ? [['stopped by', flow.result.stopReason]] : []),
    ['prompt', toPlainLine(flow.input ?? flow.definition.input ?? '')],
  ]
  for (const line of toTable(facts)) terminal.print(line)
  const section = (title: string, lines: readonly string[]) => {
    if (lines.length === 0) return
    terminal.print(`\n${style('bold', title)}`)
    for (const line of lines) terminal.print(line)
  }
  const { stepResults, error, result } = flow
  if (stepResults.length > 0) section('Steps', toStepTable(stepResults, result, style))
  section('Tries', toTable(stepResults.flatMap(toTryLines)))
  section(
    'Withheld',
    stepResults.flatMap((step) => step.withheld.map((decision) => toWithheldLine(step, decision))),
  )
  section('Notes', toNoteLines(stepResults))
  section('Sources', toSourceLines(stepResults))
  if (error) section('Error', [toPlainText(`${error.code}: ${error.message}`), cliRemedyOf(error.code, flow.id)])
  if (result)
    section(flow.simulated ? 'Answer (simulated)' : 'Answer', [
      terminal.isLive ? wrapText(toPlainText(result.finalOutput), terminal.columns) : toPlainText(result.finalOutput),
    ])
}

/** Every try, where a step had more than one. */
function toTryLines(step: StepResult): readonly (readonly string[])[] {
  if (step.attempts.length < 2 && !step.error) return []
  return step.attempts.map((attempt) => [
    labelOf(step),
    String(attempt.number),
    toPlainLine(`${attempt.provider}/${attempt.model}`),
    // What was refused before anything was generated cost nothing that could be unknown.
    attempt.error && !attempt.usage ? '' : formatCost(attempt),
    formatDuration(attempt.executionTime),
    `${attempt.error ? toPlainLine(attempt.error.code) : 'ok'}${attempt.possiblyDoubleBilled ? ', possibly billed twice' : ''}`,
  ])
}

const toWithheldLine = (step: StepResult, { kind, piece, from, to, rule }: SharingDecision): string =>
  toPlainLine(`${labelOf(step)}: ${kind} "${piece}"${from ? ` of ${from}` : ''} kept from ${to}: ${rule}`)

/** `polyphony flows cancel <id>`. */
export async function cancelCommand(context: CommandContext, flowId: string, options: DatabaseOptions): Promise<void> {
  const status = await withServices(context, toFlags(options), ({ orchestrator }) => orchestrator.cancelFlow(flowId, LOCAL_USER))
  if (context.json) return context.terminal.printJson(status)
  context.terminal.print(`${status.flowId} is ${status.status}`)
}
