import type { FlowExecutionResult } from '../domain/execution/flow-result.ts'
import type { StepResult } from '../domain/execution/step-result.ts'
import { formatCost, formatDuration, formatTokens, formatTotalCost } from './amounts.ts'
import { toPlainLine, toTable } from './plain-text.ts'
import { stepLabel } from './run-state.ts'
import type { Style } from './terminal.ts'

const HEAD = ['STEP', 'MODEL', 'STATUS', 'IN', 'OUT', 'COST', 'TIME', 'ATTEMPTS']
const NUMBERS = [3, 4, 5, 6, 7]

/** Table of the steps with tokens, cost, time and attempts, and with a row of totals if there is a result. */
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
  const attempts = steps.reduce((sum, { attempts }) => sum + attempts.length, 0)
  return [
    'total',
    '',
    result.status,
    formatTokens(result.usage.inputTokens),
    formatTokens(result.usage.outputTokens),
    formatTotalCost(result),
    formatDuration(result.totalExecutionTime),
    String(attempts),
  ]
}

/** Notes of the steps: settings that were mapped, cut or left out, and failures on the way. */
export const toNoteLines = (steps: readonly StepResult[]): readonly string[] =>
  steps.flatMap((step) => step.notes.map((note) => `${labelOf(step)}: ${toPlainLine(note)}`))

/** Citations and search results of the steps, each once. */
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

/** Characters shown of a source that has neither title nor URL. */
const SHOWN_TEXT = 200

/** Id of the step and, from the second iteration, its number; safe to print. */
export const labelOf = ({ stepId, iteration }: StepResult): string => toPlainLine(stepLabel(stepId, iteration))
