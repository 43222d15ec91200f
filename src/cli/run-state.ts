import type { FlowUpdate } from '../domain/execution/flow-update.ts'
import type { StepResult } from '../domain/execution/step-result.ts'
import { toPlainLine, toPlainText } from './plain-text.ts'

/** One line of the tree: a step in one iteration. */
export interface StepLine {
  readonly label: string
  /** `provider/model`. */
  model: string
  status: 'running' | 'waiting' | 'done' | 'failed' | 'skipped'
  startedAtMs: number
  /** End of the streamed text. */
  text: string
  /** Retries, skips and withheld context. */
  readonly notes: string[]
  result?: StepResult
}

/** State of a run, built from its updates. */
export interface RunState {
  readonly title: string
  /** By step and iteration, in the order in which they started. */
  readonly steps: ReadonlyMap<string, StepLine>
  readonly simulated: boolean
  /** Latest message that is not an update of the flow. */
  readonly lastNotice?: string
  apply(update: FlowUpdate): void
  notice(text: string): void
}

/** Characters of streamed text kept for the display. */
const KEPT_TEXT = 4_000

export const stepLabel = (stepId: string, iteration: number): string => (iteration > 1 ? `${stepId} #${iteration}` : stepId)

/** Collects updates into the state of a run; `nowMs` is called once per step. */
export function createRunState(title: string, nowMs: () => number): RunState {
  const steps = new Map<string, StepLine>()
  let simulated = false
  let lastNotice: string | undefined

  const lineOf = ({ stepId = '', iteration = 1 }: FlowUpdate): StepLine => {
    const key = `${stepId}#${iteration}`
    const known = steps.get(key)
    if (known) return known
    const label = stepLabel(stepId, iteration)
    const line: StepLine = { label, model: '', status: 'running', startedAtMs: nowMs(), text: '', notes: [] }
    steps.set(key, line)
    return line
  }

  return {
    title,
    steps,
    get simulated() {
      return simulated
    },
    get lastNotice() {
      return lastNotice
    },
    notice(text) {
      lastNotice = text
    },
    apply(update) {
      if (update.type === 'flow_start' || update.type === 'flow_complete' || update.type === 'step_complete') {
        simulated ||= update.data.simulated
      }
      if (update.stepId !== undefined) applyToStep(lineOf(update), update)
    },
  }
}

function applyToStep(line: StepLine, update: FlowUpdate): void {
  if (update.type === 'step_start') {
    line.model = toModel(update.data)
    line.status = 'running'
  } else if (update.type === 'step_progress') {
    line.status = 'running'
    if (update.data.kind === undefined) line.text = toPlainText(line.text + update.data.delta).slice(-KEPT_TEXT)
  } else if (update.type === 'step_retry') {
    line.model = toModel(update.data)
    line.status = 'waiting'
    line.notes.push(`retried after ${update.data.error.code}`)
    if (update.data.restart) line.text = ''
  } else if (update.type === 'tool_call') {
    // The answer comes after the call; the text so far belongs to the call.
    line.text = ''
    line.notes.push(toPlainLine(`called ${update.data.tool}`))
  } else if (update.type === 'step_skipped') {
    line.status = 'skipped'
    line.notes.push(toPlainLine(update.data.reason))
  } else if (update.type === 'step_complete') {
    line.result = update.data
    line.model = toModel(update.data)
    line.status = STATUS_OF[update.data.status] ?? 'failed'
  } else if (update.type === 'context_withheld') {
    const { piece, to, rule } = update.data
    line.notes.push(toPlainLine(`"${piece}" withheld from ${to}: ${rule}`))
  }
}

const STATUS_OF: Readonly<Record<string, StepLine['status']>> = { SUCCESS: 'done', SKIPPED: 'skipped' }

const toModel = ({ provider, model }: { readonly provider: string; readonly model: string }): string =>
  toPlainLine(`${provider}/${model}`)
