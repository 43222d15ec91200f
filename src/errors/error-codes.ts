import type { ErrorCodeFacts } from './error-code-facts.ts'
import { FLOW_ERROR_CODES } from './flow-error-codes.ts'
import { PROVIDER_ERROR_CODES } from './provider-error-codes.ts'
import { SERVICE_ERROR_CODES } from './service-error-codes.ts'
import { SYSTEM_ERROR_CODES } from './system-error-codes.ts'

export type ErrorCode =
  | keyof typeof FLOW_ERROR_CODES
  | keyof typeof PROVIDER_ERROR_CODES
  | keyof typeof SERVICE_ERROR_CODES
  | keyof typeof SYSTEM_ERROR_CODES

/**
 * The error table: one row per code. Adding a code is adding a row to one of its four parts.
 * A row holds everything that its code implies. A test compares the table of the documentation with this one.
 */
export const ERROR_CODES: { readonly [Code in ErrorCode]: ErrorCodeFacts } = {
  ...FLOW_ERROR_CODES,
  ...PROVIDER_ERROR_CODES,
  ...SERVICE_ERROR_CODES,
  ...SYSTEM_ERROR_CODES,
}
