import type { FastifyError } from 'fastify'
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod'
import { ERROR_CODES, type ErrorCode } from '../../errors/error-codes.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Problem } from '../../protocol/problem.ts'

/** Our codes for requests that Fastify rejects, by its codes. */
const FASTIFY_CODES: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'REQUEST_TOO_LARGE',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'MEDIA_TYPE_UNSUPPORTED',
  FST_ERR_NOT_FOUND: 'ROUTE_NOT_FOUND',
}

/** One invalid value of a request. */
interface InvalidValue {
  readonly pointer: string
  readonly detail: string
}

/**
 * Any thrown value as the error that the response reports. Unknown values become INTERNAL, a bug in Polyphony.
 * `hasBody`: whether the request had a body.
 */
export function toOrchestratorError(thrown: unknown, hasBody = true): OrchestratorError {
  if (OrchestratorError.is(thrown)) return thrown
  if (hasZodFastifySchemaValidationErrors(thrown)) {
    const where = 'validationContext' in thrown ? String(thrown.validationContext) : 'request'
    const problems = thrown.validation.map(({ instancePath, message }) => ({
      pointer: instancePath === '/' ? '#' : `#${instancePath}`,
      detail: message ?? 'not valid',
    }))
    const [first] = problems
    if (where === 'body' && !hasBody) {
      return new OrchestratorError('INPUT_INVALID', `expected a body of JSON, found none${first ? ` (${first.detail})` : ''}`, {
        details: { problems },
      })
    }
    return new OrchestratorError(
      'INPUT_INVALID',
      `${where}${first ? `${first.pointer.slice(1)}: ${first.detail}` : ' is not valid'}`,
      {
        details: { problems },
      },
    )
  }
  if (!hasStatus(thrown)) return OrchestratorError.from(thrown)
  const code = FASTIFY_CODES[thrown.code ?? '']
  if (code === 'MEDIA_TYPE_UNSUPPORTED') return new OrchestratorError(code, thrown.message, { details: { accept: JSON_TYPE } })
  if (code) return new OrchestratorError(code, thrown.message)
  const { statusCode = 500 } = thrown
  // The static files at /docs answer 403 for a path that leads out of their folder.
  if (statusCode === 403 || statusCode === 404) return new OrchestratorError('ROUTE_NOT_FOUND', 'No route has this address')
  return statusCode >= 400 && statusCode < 500
    ? new OrchestratorError('REQUEST_MALFORMED', thrown.message)
    : OrchestratorError.from(thrown)
}

/** Errors of Fastify and of its plugins. Those of the plugins may have no code. */
const hasStatus = (thrown: unknown): thrown is Pick<FastifyError, 'message'> & Partial<FastifyError> =>
  thrown instanceof Error && 'statusCode' in thrown && typeof thrown.statusCode === 'number'

/** The only media type of request bodies. */
export const JSON_TYPE = 'application/json'

export interface ProblemContext {
  readonly requestId?: string
  /** Path of the request. */
  readonly instance?: string
}

/** Limits of the response, which must not grow with the number and the length of the invalid values of a request. */
const MAX_INVALID_VALUES = 100
const MAX_CHARACTERS = 1_000

/** Text of INTERNAL in every format: messages of bugs may hold prompts or paths of the machine. */
export const INTERNAL_ERROR_DETAIL = 'Internal server error; search the log for the request id'

const clip = (text: string): string => (text.length > MAX_CHARACTERS ? `${text.slice(0, MAX_CHARACTERS)}…` : text)

/** The error as a problem of RFC 9457. INTERNAL has neither its message nor its details. */
export function toProblem(error: OrchestratorError, { requestId, instance }: ProblemContext = {}): Problem {
  const { code, retryable } = error
  const isBug = code === 'INTERNAL'
  const { problems, template } = error.details
  const errors = toInvalidValues(problems, template === undefined ? 'definition' : 'parameters')
  return {
    type: `urn:polyphony:problem:${code}`,
    title: code.toLowerCase().replaceAll('_', ' '),
    status: ERROR_CODES[code].httpStatus,
    detail: isBug ? INTERNAL_ERROR_DETAIL : clip(error.message),
    instance,
    code,
    pointer: errors[0]?.pointer,
    remedy: ERROR_CODES[code].remedy,
    retryable,
    errors: errors.length > 0 ? errors : undefined,
    details: isBug || Object.keys(error.details).length === 0 ? undefined : toPlainDetails(error.details),
    requestId,
  }
}

/**
 * `details.problems` with a JSON Pointer each. Problems of requests have one; those of definitions and of template
 * parameters have a path below `member` of the body.
 */
function toInvalidValues(problems: unknown, member: 'definition' | 'parameters'): readonly InvalidValue[] {
  if (!Array.isArray(problems)) return []
  return problems.slice(0, MAX_INVALID_VALUES).flatMap((problem: unknown) => {
    if (typeof problem !== 'object' || problem === null) return []
    const { pointer, detail, path, message } = toTexts(problem)
    if (pointer !== undefined) return [{ pointer: clip(pointer), detail: clip(detail ?? '') }]
    return path === undefined ? [] : [{ pointer: clip(toPointer(member, path)), detail: clip(message ?? '') }]
  })
}

function toTexts(problem: object): Partial<Record<'pointer' | 'detail' | 'path' | 'message', string>> {
  return Object.fromEntries(Object.entries(problem).filter(([, value]) => typeof value === 'string'))
}

/** `steps[2].inputFrom` below a member of the body as a JSON Pointer. */
const toPointer = (member: string, path: string): string =>
  `#/${member}/${path
    .split(/[.[\]]+/)
    .filter((part) => part !== '')
    .map((part) => part.replaceAll('~', '~0').replaceAll('/', '~1'))
    .join('/')}`

function toPlainDetails({ problems: _, ...details }: OrchestratorError['details']): Record<string, unknown> | undefined {
  return Object.keys(details).length === 0 ? undefined : details
}
