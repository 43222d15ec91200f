export const OrchestrationFlowType = {
  SEQUENTIAL: 'sequential',
  PARALLEL: 'parallel',
  CONDITIONAL: 'conditional',
  CRITIQUE: 'critique',
  REFINEMENT: 'refinement',
  GRAPH: 'graph',
} as const
export type OrchestrationFlowType = (typeof OrchestrationFlowType)[keyof typeof OrchestrationFlowType]
export type FlowType = OrchestrationFlowType

export const StepAction = {
  GENERATE: 'generate',
  CRITIQUE: 'critique',
  REFINE: 'refine',
  SUMMARIZE: 'summarize',
  ANALYZE: 'analyze',
  COMPARE: 'compare',
  EVALUATE: 'evaluate',
  VALIDATE: 'validate',
  EXTRACT: 'extract',
  TRANSFORM: 'transform',
} as const
export type StepAction = (typeof StepAction)[keyof typeof StepAction]

export const FlowStatus = {
  PENDING: 'PENDING',
  RUNNING: 'RUNNING',
  PAUSED: 'PAUSED',
  COMPLETED: 'COMPLETED',
  FAILED: 'FAILED',
  CANCELLED: 'CANCELLED',
} as const
export type FlowStatus = (typeof FlowStatus)[keyof typeof FlowStatus]

/** Statuses from which executeFlow may start or resume a flow. */
export const STARTABLE: readonly FlowStatus[] = ['PENDING', 'PAUSED', 'FAILED', 'CANCELLED']

/** Statuses in which a flow stays until it is executed again. */
export const SETTLED: readonly FlowStatus[] = ['COMPLETED', 'FAILED', 'CANCELLED']

export type StopReason = 'threshold' | 'max_iterations' | 'plateau' | 'limit' | 'no_verdict' | 'approved'
