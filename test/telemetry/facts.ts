import type { CallEnding, CallStart, FlowEnding, StartedFlow } from '../../src/domain/execution/observation.ts'
import type { Attempt } from '../../src/domain/execution/step-result.ts'
import type { ServiceFigures } from '../../src/domain/services/service-figures.ts'

/** Minimal facts that an observer receives. */
export const FLOW: StartedFlow = {
  flowId: 'flow-1',
  threadId: 'thread-1',
  name: 'n',
  flowType: 'sequential',
  simulated: false,
  resumed: false,
}
export const FLOW_ENDING: FlowEnding = {
  status: 'COMPLETED',
  durationMs: 1,
  costUsd: 0,
  tokens: 0,
  unpricedSteps: 0,
  simulated: false,
}
export const CALL: CallStart = {
  stepId: 'a',
  iteration: 1,
  sample: 0,
  action: 'generate',
  provider: 'openai',
  model: 'm',
  streamed: false,
  structured: false,
  settings: {},
}
export const ATTEMPT: Attempt = {
  number: 1,
  provider: 'openai',
  model: 'm',
  startedAt: new Date(0),
  executionTime: 5,
  aborted: false,
  simulated: false,
}
export const CALL_ENDING: CallEnding = { durationMs: 5, attempts: 1, unpriced: false, simulated: false, aborted: false }

export const figuresOf = (id: string, more: Partial<ServiceFigures> = {}): ServiceFigures => ({
  id,
  state: 'running',
  restarts: 0,
  inFlight: 0,
  failedProbes: 0,
  answeredCalls: 0,
  unansweredCalls: 0,
  ...more,
})
