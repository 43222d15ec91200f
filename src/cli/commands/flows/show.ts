import type { OrchestrationFlow } from '../../../domain/execution/flow.ts'
import type { Attempt, StepResult } from '../../../domain/execution/step-result.ts'
import type { SharingDecision } from '../../../domain/users/sharing.ts'
import { formatCost, formatDuration } from '../../amounts.ts'
import { databaseOption, defineCommand, jsonOption } from '../../command.ts'
import { toPlainLine, toPlainText, toTable, wrapText } from '../../plain-text.ts'
import { cliRemedyOf } from '../../report-error.ts'
import {
  type CommandContext,
  type DatabaseOptions,
  LOCAL_USER,
  type OpenServices,
  toFlags,
  withServices,
} from '../../services.ts'
import { labelOf, toNoteLines, toSourceLines, toStepTable } from '../../step-table.ts'

/** `polyphony flows show <id>`. */
export const showFlowCommand = defineCommand<DatabaseOptions>({
  group: 'flows',
  name: 'show',
  description: 'show a flow: steps, attempts, cost, withheld context, error',
  configure: (command) => command.argument('<id>').addOption(databaseOption()).addOption(jsonOption()),
  async run(context, options, flowId) {
    const read = ({ orchestrator }: OpenServices) => orchestrator.getFlow(flowId, LOCAL_USER)
    const flow = await withServices(context, toFlags(options), read)
    if (context.json) return context.terminal.printJson(flow)
    printFlow(context, flow)
  },
})

function printFlow({ terminal }: CommandContext, flow: OrchestrationFlow): void {
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
  section('Attempts', toTable(stepResults.flatMap(toAttemptRows)))
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

/** A row for each attempt of a step that failed, needed more than one, or was served from the cache. */
function toAttemptRows(step: StepResult): readonly (readonly string[])[] {
  if (step.attempts.length < 2 && !step.error && !step.attempts[0]?.cached) return []
  return step.attempts.map((attempt) => [
    labelOf(step),
    String(attempt.number),
    toPlainLine(`${attempt.provider}/${attempt.model}`),
    // An attempt that was refused before anything was generated costs nothing, so its cost is not unknown.
    attempt.error && !attempt.usage ? '' : formatCost(attempt),
    formatDuration(attempt.executionTime),
    outcomeOf(attempt),
  ])
}

function outcomeOf({ error, possiblyDoubleBilled, cached }: Attempt): string {
  const outcome = error ? toPlainLine(error.code) : 'ok'
  if (possiblyDoubleBilled) return `${outcome}, possibly billed twice`
  return cached ? `${outcome}, served from the cache` : outcome
}

const toWithheldLine = (step: StepResult, { kind, piece, from, to, rule }: SharingDecision): string =>
  toPlainLine(`${labelOf(step)}: ${kind} "${piece}"${from ? ` of ${from}` : ''} kept from ${to}: ${rule}`)
