import type { FastifyError } from 'fastify'
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod'
import { ERROR_CODES, type ErrorCode } from '../../errors/error-codes.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Problem } from '../../protocol/problem.ts'

/** The only media type of request bodies. */
export const JSON_TYPE = 'application/json'

/** Errors of Fastify itself by their codes. */
const FASTIFY_CODES: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'REQUEST_TOO_LARGE',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'MEDIA_TYPE_UNSUPPORTED',
  FST_ERR_NOT_FOUND: 'ROUTE_NOT_FOUND',
}

interface InvalidValue {
  readonly pointer: string
  readonly detail: string
}

/**
 * Any thrown value as the error that the client receives. An unexpected value becomes INTERNAL, without its text.
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
      return new OrchestratorError('INPUT_INVALID', `expected a JSON body, found none${first ? ` (${first.detail})` : ''}`, {
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
  // The plugin that serves the files at /docs refuses a path that leads out of their folder.
  if (statusCode === 403 || statusCode === 404) return new OrchestratorError('ROUTE_NOT_FOUND', 'No route for this path')
  return statusCode >= 400 && statusCode < 500
    ? new OrchestratorError('REQUEST_MALFORMED', thrown.message)
    : OrchestratorError.from(thrown)
}

/** Errors of Fastify and of its plugins. Those of plugins may have no code. */
const hasStatus = (thrown: unknown): thrown is Pick<FastifyError, 'message'> & Partial<FastifyError> =>
  thrown instanceof Error && 'statusCode' in thrown && typeof thrown.statusCode === 'number'

export interface ProblemContext {
  readonly requestId?: string
  /** Path of the request. */
  readonly instance?: string
}

/** Limits of an error response, which must not grow with the request. */
const MAX_INVALID_VALUES = 100
const MAX_CHARACTERS = 1_000

const clip = (text: string): string => (text.length > MAX_CHARACTERS ? `${text.slice(0, MAX_CHARACTERS)}…` : text)

/** Message of INTERNAL in every interface. The cause is only in the log. */
export const INTERNAL_ERROR_DETAIL = 'Internal server error; find it in the log by the request id'

/** The error as problem details (RFC 9457). INTERNAL reveals nothing about its cause. */
export function toProblem(error: OrchestratorError, { requestId, instance }: ProblemContext = {}): Problem {
  const { code, retryable } = error
  const isBug = code === 'INTERNAL'
  const { problems, template } = error.details
  const invalid = toInvalidValues(problems, template === undefined ? 'definition' : 'parameters')
  return {
    type: `urn:polyphony:problem:${code}`,
    title: code.toLowerCase().replaceAll('_', ' '),
    status: ERROR_CODES[code].httpStatus,
    detail: isBug ? INTERNAL_ERROR_DETAIL : clip(error.message),
    instance,
    code,
    pointer: invalid[0]?.pointer,
    remedy: ERROR_CODES[code].remedy,
    retryable,
    errors: invalid.length > 0 ? invalid : undefined,
    details: isBug || Object.keys(error.details).length === 0 ? undefined : toPlainDetails(error.details),
    requestId,
  }
}

/**
 * The problems of an error with their pointers. Problems of definitions and of template parameters have paths, which
 * are relative to `member` of the body.
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

/** A path such as `steps[2].inputFrom` below a member of the body, as a JSON Pointer. */
const toPointer = (member: string, path: string): string =>
  `#/${member}/${path
    .split(/[.[\]]+/)
    .filter((part) => part !== '')
    .map((part) => part.replaceAll('~', '~0').replaceAll('/', '~1'))
    .join('/')}`

function toPlainDetails({ problems: _, ...details }: OrchestratorError['details']): Record<string, unknown> | undefined {
  return Object.keys(details).length === 0 ? undefined : details
}
