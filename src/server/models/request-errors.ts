import type { ErrorCode } from '../../errors/error-codes.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/** Codes that clients of OpenAI know, where ours say less. */
export type OpenAiReason =
  | 'invalid_value'
  | 'missing_required_parameter'
  | 'unsupported_parameter'
  | 'unsupported_value'
  | 'model_not_found'
  | 'not_found'
  | 'previous_response_not_found'
  | 'previous_response_not_completed'

/** A request that is not answered, with the field that is the matter. */
export const refusal = (
  param: string | null,
  message: string,
  reason: OpenAiReason,
  code: ErrorCode = 'INPUT_INVALID',
): OrchestratorError => new OrchestratorError(code, message, { details: { ...(param === null ? {} : { param }), reason } })

/** A stream is not remembered under an Idempotency-Key: it cannot be sent again. */
export const isStream = (body: unknown): boolean =>
  typeof body === 'object' && body !== null && 'stream' in body && body.stream === true
