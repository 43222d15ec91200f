import type { FlowExecutionResult } from '../domain/execution/flow-result.ts'
import type { StepResult } from '../domain/execution/step-result.ts'

type Paid = Pick<StepResult, 'simulated' | 'cost'>

/** US dollars with the significant digits: a fraction of a cent is not rounded to 0. */
export function formatUsd(costUsd: number): string {
  if (costUsd === 0) return '$0'
  if (costUsd < 0.000_05) return '<$0.0001'
  return `$${costUsd.toFixed(costUsd < 1 ? 4 : 2)}`
}

/** The cost of a step. An unknown cost and an answer of the simulator are shown as words, never as a number. */
export function formatCost({ simulated, cost }: Paid): string {
  if (simulated) return 'simulated'
  return cost === undefined ? 'unknown' : formatUsd(cost)
}

/** The cost of an execution, with the number of steps whose cost is unknown. */
export function formatTotalCost({
  simulated,
  totalCost,
  unpricedSteps,
}: Pick<FlowExecutionResult, 'simulated' | 'totalCost' | 'unpricedSteps'>): string {
  const unpriced = unpricedSteps === 0 ? '' : `unknown for ${unpricedSteps} ${unpricedSteps === 1 ? 'step' : 'steps'}`
  if (totalCost > 0) return [formatUsd(totalCost), unpriced].filter(Boolean).join(', ')
  if (simulated) return 'simulated'
  return unpriced || formatUsd(totalCost)
}

export const formatTokens = (tokens: number | undefined): string =>
  tokens === undefined ? 'unknown' : tokens.toLocaleString('en-US')

export function formatDuration(durationMs: number): string {
  if (durationMs < 1_000) return `${Math.round(durationMs)} ms`
  if (durationMs < 60_000) return `${(durationMs / 1_000).toFixed(1)} s`
  const seconds = Math.round(durationMs / 1_000)
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
}
