import type { FlowExecutionResult } from '../domain/execution/flow-result.ts'
import type { StepResult } from '../domain/execution/step-result.ts'
import { formatCost, formatDuration, formatTokens, formatTotalCost } from './amounts.ts'
import { toPlainLine, toTable } from './plain-text.ts'
import { stepLabel } from './run-state.ts'
import type { Style } from './terminal.ts'

const HEAD = ['STEP', 'MODEL', 'STATUS', 'IN', 'OUT', 'COST', 'TIME', 'TRIES']
const NUMBERS = [3, 4, 5, 6, 7]

/** Steps with tokens, cost and time, and the totals where the run ended. */
export function toStepTable(
  steps: readonly StepResult[],
  result: FlowExecutionResult | undefined,
  style: Style,
): readonly string[] {
  const rows = [HEAD, ...steps.map(toRow), ...(result ? [toTotalRow(result, steps)] : [])]
  const lines = toTable(rows, NUMBERS)
  return lines.map((line, index) => {
    if (index === 0) return style('dim', line)
    return index > steps.length ? style('bold', line) : line
  })
}

function toRow(step: StepResult): readonly string[] {
  const label = toPlainLine(stepLabel(step.stepId, step.iteration))
  const model = toPlainLine(`${step.provider}/${step.model}`)
  if (step.status === 'SKIPPED') return [label, model, step.status, '', '', '', '', '']
  return [
    label,
    model,
    step.status,
    formatTokens(step.usage?.inputTokens),
    formatTokens(step.usage?.outputTokens),
    formatCost(step),
    formatDuration(step.executionTime),
    String(step.attempts.length),
  ]
}

function toTotalRow(result: FlowExecutionResult, steps: readonly StepResult[]): readonly string[] {
  const tries = steps.reduce((sum, { attempts }) => sum + attempts.length, 0)
  return [
    'total',
    '',
    result.status,
    formatTokens(result.usage.inputTokens),
    formatTokens(result.usage.outputTokens),
    formatTotalCost(result),
    formatDuration(result.totalExecutionTime),
    String(tries),
  ]
}

/** What was mapped, cut, left out or failed along the way, by step. */
export const toNoteLines = (steps: readonly StepResult[]): readonly string[] =>
  steps.flatMap((step) => step.notes.map((note) => `${labelOf(step)}: ${toPlainLine(note)}`))

/** Citations and search results, by step, each once. */
export function toSourceLines(steps: readonly StepResult[]): readonly string[] {
  const lines = steps.flatMap((step) =>
    (step.sources ?? []).flatMap(({ title, url, text }) => {
      const named = [title, url].filter((part) => part !== undefined)
      const shown = named.length > 0 ? named.join(' ') : text?.slice(0, SHOWN_TEXT)
      return shown === undefined ? [] : [`${labelOf(step)}: ${toPlainLine(shown)}`]
    }),
  )
  return [...new Set(lines)]
}

/** Characters of a source that has neither a title nor an address. */
const SHOWN_TEXT = 200

/** The step and, in a loop, its iteration, safe to print. */
export const labelOf = ({ stepId, iteration }: StepResult): string => toPlainLine(stepLabel(stepId, iteration))
