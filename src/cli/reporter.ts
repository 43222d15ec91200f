import type { FlowUpdate } from '../domain/execution/flow-update.ts'
import { formatCost, formatDuration, formatTokens } from './amounts.ts'
import { startLiveTree } from './live-tree.ts'
import { toPlainLine } from './plain-text.ts'
import { createRunState, stepLabel } from './run-state.ts'
import type { CommandContext } from './services.ts'

/** Shows a run while it happens. */
export interface Reporter {
  update(update: FlowUpdate): void
  /** Tells the user something besides. */
  notice(text: string): void
  /** Nothing more is shown; safe to call twice. */
  stop(): void
}

export interface ReporterOptions {
  readonly title: string
  /** Shows nothing. */
  readonly quiet: boolean
}

/** JSON lines, a live tree or plain lines, as the terminal and the user want it. */
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

/** One line for a thing that happened; streamed text has none. */
function toPlainUpdate(update: FlowUpdate, title: string): string | undefined {
  const text = describe(update, title)
  if (text === undefined) return undefined
  const label = update.stepId === undefined ? '' : `${stepLabel(update.stepId, update.iteration ?? 1)}: `
  return toPlainLine(label + text)
}

function describe(update: FlowUpdate, title: string): string | undefined {
  if (update.type === 'flow_start') {
    const how = update.data.resumed ? 'resumed' : 'started'
    return `${title}: ${how} as ${update.flowId}${update.data.simulated ? ' (simulated)' : ''}`
  }
  if (update.type === 'step_start') return `${update.data.action} by ${update.data.provider}/${update.data.model}`
  if (update.type === 'step_retry') {
    const { error, delayMs, provider, model } = update.data
    return `${error.code}, tried again in ${formatDuration(delayMs)} with ${provider}/${model}`
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
