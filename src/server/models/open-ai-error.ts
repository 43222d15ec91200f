import * as z from 'zod'
import { ERROR_CODES } from '../../errors/error-codes.ts'
import type { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { ErrorFormat } from '../errors/error-format.ts'
import { INTERNAL_ERROR_DETAIL } from '../errors/problem-details.ts'
import { namedSchemas } from '../requests/named-schemas.ts'
import { messageWithRemedy } from '../requests/runnable.ts'

/** The body of an error in OpenAI's format. `code` is one that OpenAI's clients decide on, or ours in lower case. */
export const openAiError = z.object({
  error: z.object({ message: z.string(), type: z.string(), param: z.string().nullable(), code: z.string().nullable() }),
})
namedSchemas.add(openAiError, { id: 'OpenAiError' })
export type OpenAiError = z.output<typeof openAiError>

/** The status of the error table, except that 422 becomes 400, which OpenAI's clients turn into a BadRequestError. */
function statusOf({ code }: OrchestratorError): number {
  const { httpStatus } = ERROR_CODES[code]
  return httpStatus === 422 ? 400 : httpStatus
}

function typeOf(status: number): string {
  if (status >= 500) return 'server_error'
  if (status === 429) return 'rate_limit_error'
  return status === 403 ? 'permission_error' : 'invalid_request_error'
}

export function toOpenAiError(error: OrchestratorError): OpenAiError {
  const { code, details } = error
  const message = code === 'INTERNAL' ? INTERNAL_ERROR_DETAIL : messageWithRemedy(error)
  const reason = typeof details.reason === 'string' ? details.reason : undefined
  return {
    error: {
      message,
      type: typeOf(statusOf(error)),
      param: paramOf(details),
      code: reason ?? ERROR_CODES[code].openAiCode ?? code.toLowerCase(),
    },
  }
}

/** Errors of everything under /v1, including unknown addresses and rejected keys. */
export const openAiErrors: ErrorFormat = {
  under: '/v1',
  toAnswer: (error) => {
    const { flowId } = error.details
    const isFlow = typeof flowId === 'string'
    return {
      status: statusOf(error),
      headers: {
        'content-type': 'application/json; charset=utf-8',
        // OpenAI's clients repeat 409, 429 and 5xx by themselves. A flow has already retried its steps, and repeating
        // the request would pay for them twice.
        'x-should-retry': String(error.retryable && !isFlow),
        ...(isFlow ? { 'x-polyphony-flow-id': flowId } : {}),
      },
      body: toOpenAiError(error),
    }
  },
}

/** The invalid field in OpenAI's notation: `messages[0].content`. */
function paramOf({ param, problems }: OrchestratorError['details']): string | null {
  if (typeof param === 'string') return param
  const [first]: readonly unknown[] = Array.isArray(problems) ? problems : []
  const pointer = typeof first === 'object' && first !== null && 'pointer' in first ? first.pointer : undefined
  if (typeof pointer !== 'string' || !pointer.startsWith('#/')) return null
  return pointer
    .slice(2)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce((path, part) => (/^\d+$/.test(part) ? `${path}[${part}]` : path === '' ? part : `${path}.${part}`), '')
}
