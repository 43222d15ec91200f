import { ERROR_CODES, type ErrorCode } from '../../errors/error-codes.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/** A code of the error table; INTERNAL for any other text. */
export const toErrorCode = (code: unknown): ErrorCode => (isErrorCode(code) ? code : 'INTERNAL')

const isErrorCode = (code: unknown): code is ErrorCode => typeof code === 'string' && Object.hasOwn(ERROR_CODES, code)

/** The error of a problem document of a server; `message` is that of one without a text. */
export function toServerError(document: unknown, message: string): OrchestratorError {
  const { code, detail, details } = { code: undefined, detail: undefined, details: undefined, ...toRecord(document) }
  return new OrchestratorError(toErrorCode(code), typeof detail === 'string' ? detail : message, { details: toRecord(details) })
}

const toRecord = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value)) : {}
