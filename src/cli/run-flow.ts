import type { FlowExecutionResult } from '../domain/execution/flow-result.ts'
import type { ExecuteFlowOptions } from '../orchestrator/service-options.ts'
import { toPlainText, wrapText } from './plain-text.ts'
import { createReporter } from './reporter.ts'
import type { CommandContext, OpenServices } from './services.ts'
import { toNoteLines, toSourceLines, toStepTable } from './step-table.ts'

export interface FlowRunOptions extends Pick<ExecuteFlowOptions, 'input' | 'metadata' | 'streaming' | 'limits'> {
  readonly flowId: string
  readonly userId: string
  readonly title: string
  readonly quiet?: boolean
}

/** Executes a flow and shows its progress. The first Ctrl-C cancels the flow, the second ends the process at once. */
export async function runFlow(
  context: CommandContext,
  { orchestrator }: Pick<OpenServices, 'orchestrator'>,
  { flowId, userId, title, quiet = false, ...options }: FlowRunOptions,
): Promise<FlowExecutionResult> {
  const reporter = createReporter(context, { title, quiet })
  const cancelling = new AbortController()
  const interrupt = () => {
    if (cancelling.signal.aborted) process.exit(130)
    reporter.notice('Cancelling the flow; press Ctrl-C again to exit at once.')
    cancelling.abort()
  }
  // The handlers are never removed: the second Ctrl-C may come while the database closes.
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt)
  try {
    return await orchestrator.executeFlow(flowId, userId, {
      ...options,
      signal: cancelling.signal,
      onUpdate: reporter.update,
    })
  } finally {
    reporter.stop()
  }
}

/**
 * Prints the answer, the table of steps, notes and sources. `quiet`: the answer only. `notes`: what was mapped, cut or
 * withheld in the steps; default true.
 */
export function showResult(
  { terminal, json }: CommandContext,
  result: FlowExecutionResult,
  { quiet = false, notes = true }: { readonly quiet?: boolean; readonly notes?: boolean } = {},
): void {
  const plain = toPlainText(result.finalOutput)
  const answer = terminal.isLive ? wrapText(plain, terminal.columns) : plain
  if (json) terminal.printJson({ type: 'result', result })
  else if (quiet) {
    if (result.simulated) terminal.warn('Simulated: no model wrote this answer.')
    terminal.print(answer)
  } else {
    const { style } = terminal
    terminal.print(`\n${style('bold', 'Answer')}${result.simulated ? ' (simulated)' : ''}\n\n${answer}\n`)
    for (const line of toStepTable(result.steps, result, style)) terminal.print(line)
    if (result.stopReason) terminal.print(`\nStopped by: ${result.stopReason}`)
    const section = (title: string, lines: readonly string[]) => {
      if (lines.length > 0) terminal.print([`\n${style('bold', title)}`, ...lines].join('\n'))
    }
    // The table already shows which steps were skipped.
    if (notes) section('Notes', toNoteLines(result.steps.filter(({ status }) => status !== 'SKIPPED')))
    section('Sources', toSourceLines(result.steps))
  }
}
