import type { ErrorCode } from '../../errors/error-codes.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/** Codes of OpenAI that are more specific than ours. */
export type OpenAiReason =
  | 'invalid_value'
  | 'missing_required_parameter'
  | 'unsupported_parameter'
  | 'unsupported_value'
  | 'model_not_found'
  | 'not_found'
  | 'previous_response_not_found'
  | 'previous_response_not_completed'

/** The error of a request that is refused. `param`: the field that causes it. */
export const refusal = (
  param: string | null,
  message: string,
  reason: OpenAiReason,
  code: ErrorCode = 'INPUT_INVALID',
): OrchestratorError => new OrchestratorError(code, message, { details: { ...(param === null ? {} : { param }), reason } })

/** Whether a request asks for a stream, whose response is not stored under its Idempotency-Key. */
export const isStream = (body: unknown): boolean =>
  typeof body === 'object' && body !== null && 'stream' in body && body.stream === true
