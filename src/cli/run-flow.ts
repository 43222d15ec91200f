import type { FlowExecutionResult } from '../domain/execution/flow-result.ts'
import type { FlowUpdate } from '../domain/execution/flow-update.ts'
import type { WaitKey } from '../domain/waiting/wait.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { ExecuteFlowOptions } from '../orchestrator/service-options.ts'
import { toPlainText, wrapText } from './plain-text.ts'
import { createReporter } from './reporter.ts'
import type { CommandContext, OpenServices } from './services.ts'
import { toNoteLines, toSourceLines, toStepTable } from './step-table.ts'

interface ShownRun {
  readonly flowId: string
  readonly userId: string
  readonly title: string
  readonly quiet?: boolean
}

export interface FlowRunOptions
  extends ShownRun,
    Pick<ExecuteFlowOptions, 'input' | 'attachments' | 'metadata' | 'streaming' | 'limits'> {}

interface ContinuedRun extends ShownRun {
  readonly decided: WaitKey
  /** Whether the flow was PAUSED when the step was decided. */
  readonly wasPaused: boolean
}

const isPauseOf = (update: FlowUpdate, { path, iteration }: WaitKey): boolean =>
  update.type === 'flow_paused' && update.data.waits.some((wait) => wait.path === path && wait.iteration === iteration)

type RunServices = Pick<OpenServices, 'orchestrator'>

/**
 * Executes a flow and shows its progress. The first Ctrl-C cancels the flow, the second ends the process at once. When
 * the flow waits for a decision, the local user is asked on a terminal; elsewhere, and for a decision of somebody else,
 * it rejects with FLOW_PAUSED and leaves the flow as it is.
 */
export function runFlow(context: CommandContext, open: RunServices, options: FlowRunOptions): Promise<FlowExecutionResult> {
  const { flowId, userId, title: _, quiet: __, ...execution } = options
  return showRun(context, open, options, (watch) => open.orchestrator.executeFlow(flowId, userId, { ...execution, ...watch }))
}

/** Shows a flow that continues because a step of it was decided, in any process, as `runFlow` does. */
export function continueFlow(
  context: CommandContext,
  open: RunServices,
  { decided, wasPaused, ...run }: ContinuedRun,
): Promise<FlowExecutionResult> {
  const { orchestrator } = open
  const { flowId, userId } = run
  return showRun(context, open, run, async ({ signal, onUpdate }) => {
    // The stream ends when the flow has been cancelled.
    signal.addEventListener('abort', () => void orchestrator.cancelFlow(flowId, userId).catch(() => {}))
    let isShown = !wasPaused
    for await (const update of orchestrator.streamFlow(flowId, userId)) {
      // The flow has left this pause, and everything before it was shown when it happened.
      if (isPauseOf(update, decided)) isShown = true
      else if (isShown) onUpdate(update)
    }
    const { result, error, status } = await orchestrator.getFlow(flowId, userId)
    if (status === 'COMPLETED' && result) return result
    if (!error) throw new OrchestratorError('FLOW_CANCELLED', `Flow "${flowId}" is ${status}`, { details: { flowId } })
    const { code, message, retryable, details } = error
    throw new OrchestratorError(code, message, { retryable, details: { ...details, flowId } })
  })
}

interface Watch {
  /** Aborted when the user cancels the flow. */
  readonly signal: AbortSignal
  readonly onUpdate: (update: FlowUpdate) => void
}

async function showRun(
  context: CommandContext,
  open: RunServices,
  run: ShownRun,
  start: (watch: Watch) => Promise<FlowExecutionResult>,
): Promise<FlowExecutionResult> {
  const { title, quiet = false } = run
  let reporter = createReporter(context, { title, quiet })
  const cancelling = new AbortController()
  const interrupt = () => {
    if (cancelling.signal.aborted) process.exit(130)
    reporter.notice('Cancelling the flow; press Ctrl-C again to exit at once.')
    cancelling.abort()
  }
  // The handlers are never removed: the second Ctrl-C may come while the database closes.
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt)
  try {
    return await new Promise((resolve, reject) => {
      let asking = Promise.resolve()
      const ask = async () => {
        reporter.stop()
        const { decideWaiting } = await import('./questions/decide-waiting.ts')
        await decideWaiting(context, open, run)
        reporter = createReporter(context, { title, quiet })
      }
      const onUpdate = (update: FlowUpdate) => {
        reporter.update(update)
        if (update.type === 'flow_paused') asking = asking.then(ask).catch(reject)
      }
      start({ signal: cancelling.signal, onUpdate }).then(resolve, reject)
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
