import * as z from 'zod'
import { ERROR_CODES, type ErrorCode } from '../errors/error-codes.ts'
import { arrayOf } from './instant.ts'

const isErrorCode = (text: string): text is ErrorCode => Object.hasOwn(ERROR_CODES, text)

/** A code of the error table. */
export const errorCode = z.string().refine(isErrorCode, 'expected a code of the error table')

/** An error response: problem details (RFC 9457) with the error code, the invalid values and a remedy. */
export const problem = z.object({
  /** `urn:polyphony:problem:<code>`: identifies the kind of problem. It cannot be fetched. */
  type: z.string(),
  /** The code in lower case, with spaces. */
  title: z.string(),
  status: z.number().int(),
  detail: z.string(),
  /** Path of the request. */
  instance: z.string().optional(),
  /** Code of the error table. Programs must decide on this and never on a text. */
  code: errorCode,
  /** JSON Pointer of the first invalid value in the request. */
  pointer: z.string().optional(),
  remedy: z.string(),
  retryable: z.boolean(),
  /** All invalid values in the request. */
  errors: arrayOf(z.object({ pointer: z.string(), detail: z.string() })).optional(),
  details: z.record(z.string(), z.unknown()).optional(),
  requestId: z.string().optional(),
})
export type Problem = z.output<typeof problem>

/** An error in results and updates. */
export const errorInfo = z.object({
  code: z.string(),
  message: z.string(),
  retryable: z.boolean(),
  details: z.record(z.string(), z.unknown()),
})
