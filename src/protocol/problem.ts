import * as z from 'zod'
import { ERROR_CODES, type ErrorCode } from '../errors/error-codes.ts'
import { arrayOf } from './instant.ts'

const isErrorCode = (text: string): text is ErrorCode => Object.hasOwn(ERROR_CODES, text)

/** An error as it crosses the wire: RFC 9457 with the code, the place and what to do about it. */
export const problem = z.object({
  /** `urn:polyphony:problem:<code>`: names the kind of problem and is no address. */
  type: z.string(),
  /** The code in words. */
  title: z.string(),
  status: z.number().int(),
  detail: z.string(),
  /** Path of the request. */
  instance: z.string().optional(),
  /** Decide on this, never on a text. */
  code: z.string().refine(isErrorCode, 'expected a code of the error table'),
  /** JSON Pointer of the first place in the request that is wrong. */
  pointer: z.string().optional(),
  remedy: z.string(),
  retryable: z.boolean(),
  /** Every place that is wrong. */
  errors: arrayOf(z.object({ pointer: z.string(), detail: z.string() })).optional(),
  details: z.record(z.string(), z.unknown()).optional(),
  requestId: z.string().optional(),
})
export type Problem = z.output<typeof problem>

/** An error as it stands in results and updates. */
export const errorInfo = z.object({
  code: z.string(),
  message: z.string(),
  retryable: z.boolean(),
  details: z.record(z.string(), z.unknown()),
})
