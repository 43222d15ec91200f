import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { providerError } from '../provider-error.ts'
import { isRecord, recordOf, textOf } from '../vendor/foreign-json.ts'
import { type AttemptState, networkCodeOf, toBadReply, toConnectionError, toVendorError } from '../vendor/vendor-error.ts'

/** Names of the errors of the AI SDK for an answer that it could not read. */
const UNREADABLE = ['AI_JSONParseError', 'AI_TypeValidationError', 'AI_InvalidResponseDataError', 'AI_EmptyResponseBodyError']

/**
 * The error of a failed attempt from what a model of the AI SDK threw or reported inside its stream. The thrown error
 * is no cause of it, because it holds the request with its prompt.
 */
export function toAttemptError(thrown: unknown, state: AttemptState): unknown {
  if (OrchestratorError.is(thrown)) return thrown
  if (!(thrown instanceof Error))
    return toVendorError({ ...state, body: isRecord(thrown) ? thrown : { message: String(thrown) } })
  const { statusCode, responseHeaders, responseBody, cause } = recordOf(Object.assign({}, thrown, { cause: thrown.cause }))
  if (typeof statusCode === 'number' && !isSuccess(statusCode)) {
    return providerError({
      ...state,
      status: statusCode,
      headers: toTexts(responseHeaders),
      body: textOf(responseBody) ?? { message: thrown.message },
    })
  }
  if (isBroken(thrown) || isBroken(cause)) return toConnectionError(toPlainCause(thrown), state)
  if (UNREADABLE.includes(thrown.name) || typeof statusCode === 'number') return toBadReply('an unreadable answer', state)
  if (networkCodeOf(thrown) !== undefined || thrown.name === 'AI_APICallError')
    return toConnectionError(toPlainCause(thrown), state)
  // A refusal before the request was sent: an argument that the model does not take, or a key that is not set.
  const code = /LoadAPIKey|LoadSetting/.test(thrown.name) ? 'PROVIDER_AUTH' : 'PROVIDER_REJECTED'
  return new OrchestratorError(code, `Provider "${state.provider}" refused the request (${thrown.name})`, {
    details: { provider: state.provider },
  })
}

const isSuccess = (status: number): boolean => status >= 200 && status < 300

/** Whether the connection broke after the head of a successful answer, which some models read before they return. */
export const isCutAnswer = (thrown: unknown): boolean =>
  thrown instanceof Error &&
  'statusCode' in thrown &&
  isSuccess(Number(thrown.statusCode)) &&
  (isBroken(thrown) || isBroken(thrown.cause))

/** Whether the connection broke; undici names a break within a body only by this message. */
export const isBroken = (error: unknown): boolean =>
  error instanceof Error && (error.message === 'terminated' || networkCodeOf(error) !== undefined)

/** The code of the network without the request. */
const toPlainCause = (error: Error): object => ({ code: networkCodeOf(error) })

const toTexts = (headers: unknown): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(recordOf(headers)).flatMap(([name, value]) => (typeof value === 'string' ? [[name, value]] : [])),
  )
