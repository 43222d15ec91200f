import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { SharingDecision } from '../users/sharing.ts'

/**
 * DATA_SHARING_DENIED for a step that needs context which its provider may not see. The decision travels with the error
 * as a value, so that the step's result and updates record it; `details` hold the same facts for callers.
 */
export class SharingDeniedError extends OrchestratorError {
  readonly decision: SharingDecision

  constructor(message: string, stepId: string, decision: SharingDecision) {
    const { piece, kind, from, to, rule, origin } = decision
    super('DATA_SHARING_DENIED', message, {
      details: { stepId, piece, kind, ...(from !== undefined && { from }), to, rule, ...(origin && { origin }) },
    })
    this.decision = decision
  }
}
