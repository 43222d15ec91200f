import type { FlowUpdate } from '../domain/execution/flow-update.ts'
import { formatCost, formatDuration, formatTokens } from './amounts.ts'
import { startLiveTree } from './live-tree.ts'
import { toPlainLine } from './plain-text.ts'
import { createRunState, stepLabel } from './run-state.ts'
import type { CommandContext } from './services.ts'

/** Shows a run while it is in progress. */
export interface Reporter {
  update(update: FlowUpdate): void
  /** Shows a message that is not an update of the flow. */
  notice(text: string): void
  /** Ends the output; safe to call twice. */
  stop(): void
}

export interface ReporterOptions {
  readonly title: string
  /** Whether to show only notices and no updates. */
  readonly quiet: boolean
}

/** Creates the reporter for the output: JSON lines, a live tree on a terminal, or plain lines elsewhere. */
export function createReporter({ terminal, json }: CommandContext, { title, quiet }: ReporterOptions): Reporter {
  const lineByLine = { notice: terminal.warn, stop: () => {} }
  if (json) return { ...lineByLine, update: terminal.printJson }
  if (quiet) return { ...lineByLine, update: () => {} }
  if (!terminal.isLive) {
    const update = (update: FlowUpdate) => {
      const line = toPlainUpdate(update, title)
      if (line !== undefined) terminal.print(line)
    }
    return { ...lineByLine, update }
  }
  const state = createRunState(title, Date.now)
  let tree: { stop(): void } | undefined = startLiveTree(state, terminal, Date.now)
  return {
    update: state.apply,
    notice: state.notice,
    stop() {
      tree?.stop()
      tree = undefined
    },
  }
}

/** One line for an update; `undefined` for streamed text and other updates that are not shown. */
function toPlainUpdate(update: FlowUpdate, title: string): string | undefined {
  const text = describe(update, title)
  if (text === undefined) return undefined
  const label = update.stepId === undefined ? '' : `${stepLabel(update.stepId, update.iteration ?? 1)}: `
  return toPlainLine(label + text)
}

/** Characters of the arguments of a call in its line. */
const SHOWN_ARGUMENTS = 200

function describe(update: FlowUpdate, title: string): string | undefined {
  if (update.type === 'flow_start') {
    const verb = update.data.resumed ? 'resumed' : 'started'
    return `${title}: ${verb} as ${update.flowId}${update.data.simulated ? ' (simulated)' : ''}`
  }
  if (update.type === 'step_start') return `${update.data.action} by ${update.data.provider}/${update.data.model}`
  if (update.type === 'step_retry') {
    const { error, delayMs, provider, model } = update.data
    return `${error.code}, next attempt in ${formatDuration(delayMs)} with ${provider}/${model}`
  }
  if (update.type === 'tool_call') {
    const { tool, arguments: given, needsApproval } = update.data
    const call = `${tool} ${JSON.stringify(given ?? {}).slice(0, SHOWN_ARGUMENTS)}`
    return needsApproval ? `asks to call ${call}` : `calls ${call}`
  }
  if (update.type === 'tool_result') {
    const { tool, isError, executionTime } = update.data
    return `${tool} ${isError ? 'gave an error' : 'answered'} after ${formatDuration(executionTime)}`
  }
  if (update.type === 'step_skipped') return `skipped, ${update.data.reason}`
  if (update.type === 'context_withheld') {
    const { piece, to, rule } = update.data
    return `"${piece}" withheld from ${to} (${rule})`
  }
  if (update.type === 'step_complete') {
    const { status, usage, executionTime, error } = update.data
    const facts = [`${formatTokens(usage?.totalTokens)} tokens`, `cost ${formatCost(update.data)}`, formatDuration(executionTime)]
    return `${[error ? `${status} ${error.code}` : status.toLowerCase(), ...facts].join(', ')}`
  }
  return undefined
}
