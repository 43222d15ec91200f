/*
 * The core words of Polyphony. docs/glossary.md defines them in full, and all others.
 *
 * definition    The description of a flow, as data or as code: a name, a flow type, the steps, and settings.
 * flow          One stored instance of a definition, with an id, a status and its step results.
 * execution     One run of a flow, from `executeFlow` to an outcome.
 * step          One task of a definition for one model: its prompt, the outputs it reads, and what happens if it fails.
 * iteration     The number of a round of a loop, from 1.
 * sample        One of several answers to the same prompt.
 * call          One logical request of a step for an answer, with all its attempts.
 * attempt       One request that is sent to one provider.
 * provider      An account together with the adapter that speaks to it, under one id of the configuration.
 * account       A key and an address at one vendor, with limits of its own; one entry of `providers` in the
 *               configuration.
 * vendor        The company or server behind an account, such as `openai` or `ollama`.
 * context item  One text that a step might send to a provider: the original prompt, a message of the history, the
 *               output of a step, or an attachment.
 * verdict       A reviewer's assessment of a draft, as a value: `score` from 0 to 1, `approved`, `issues` and
 *               `feedback`.
 * wait          A step that has paused its flow, or will when nothing else can run, with what it waits for: a
 *               decision, a time, an event or the result of a caller tool.
 * update        One numbered event of a flow, such as `step_start` or `step_progress`.
 * journal       The one queue through which all data of running flows is written, many flows in one statement.
 * owner         The process that runs a flow.
 * epoch         A number of a flow that rises with every owner.
 */
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
  /** Calls a function, an HTTP operation or an MCP tool with the arguments of the step. */
  RUN: 'run',
  /** Pauses the flow until a user decides. */
  APPROVE: 'approve',
  /** Pauses the flow for a time, until an instant or until an event. */
  WAIT: 'wait',
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

/** Statuses from which executeFlow may start or resume a flow. A PAUSED flow continues when what it waits for comes. */
export const STARTABLE: readonly FlowStatus[] = ['PENDING', 'FAILED', 'CANCELLED']

/** Statuses in which a flow stays until it is executed again. */
export const SETTLED: readonly FlowStatus[] = ['COMPLETED', 'FAILED', 'CANCELLED']

export type StopReason = 'threshold' | 'max_iterations' | 'plateau' | 'limit' | 'no_verdict' | 'approved'
