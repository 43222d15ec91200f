import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/** The error for a user who publishes what only an operator may. */
export const permissionDeniedForEvent = (): OrchestratorError =>
  new OrchestratorError(
    'PERMISSION_DENIED',
    'Expected an event with the source "user", the own user and a priority below "critical": others need the scope "operate"',
    { details: { scope: 'operate' } },
  )
