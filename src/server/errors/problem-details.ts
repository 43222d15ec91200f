import type { FastifyError } from 'fastify'
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod'
import { ERROR_CODES, type ErrorCode } from '../../errors/error-codes.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Problem } from '../../protocol/problem.ts'

/** The only media type of request bodies. */
export const JSON_TYPE = 'application/json'

/** What Fastify itself refuses, by its code. */
const FASTIFY_CODES: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'REQUEST_TOO_LARGE',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'MEDIA_TYPE_UNSUPPORTED',
  FST_ERR_NOT_FOUND: 'ROUTE_NOT_FOUND',
}

interface Place {
  readonly pointer: string
  readonly detail: string
}

/** Any thrown value as the error that is told. What is a bug of ours stays one, and says nothing of itself. `hasBody`: whether the request had a body. */
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
  // What the files at /docs refuse to look for: a path that leads out of their folder.
  if (statusCode === 403 || statusCode === 404) return new OrchestratorError('ROUTE_NOT_FOUND', 'Nothing answers here')
  return statusCode >= 400 && statusCode < 500
    ? new OrchestratorError('REQUEST_MALFORMED', thrown.message)
    : OrchestratorError.from(thrown)
}

/** Errors of Fastify and of its plugins; those of the plugins may have no code. */
const hasStatus = (thrown: unknown): thrown is Pick<FastifyError, 'message'> & Partial<FastifyError> =>
  thrown instanceof Error && 'statusCode' in thrown && typeof thrown.statusCode === 'number'

export interface ProblemContext {
  readonly requestId?: string
  /** Path of the request. */
  readonly instance?: string
}

/** What is told of a request that is wrong in many places, or in a long one: an answer is not to grow with what was sent. */
const MAX_PLACES = 100
const MAX_CHARACTERS = 1_000

const clip = (text: string): string => (text.length > MAX_CHARACTERS ? `${text.slice(0, MAX_CHARACTERS)}…` : text)

/** The error as RFC 9457 writes it. An error of ours that has no other code tells only that there was one. */
export function toProblem(error: OrchestratorError, { requestId, instance }: ProblemContext = {}): Problem {
  const { code, retryable } = error
  const isBug = code === 'INTERNAL'
  const { problems, template } = error.details
  const places = toPlaces(problems, template === undefined ? 'definition' : 'parameters')
  return {
    type: `urn:polyphony:problem:${code}`,
    title: code.toLowerCase().replaceAll('_', ' '),
    status: ERROR_CODES[code].httpStatus,
    detail: isBug ? 'The server met an error of its own; the request id finds it in the log' : clip(error.message),
    instance,
    code,
    pointer: places[0]?.pointer,
    remedy: ERROR_CODES[code].remedy,
    retryable,
    errors: places.length > 0 ? places : undefined,
    details: isBug || Object.keys(error.details).length === 0 ? undefined : toPlainDetails(error.details),
    requestId,
  }
}

/** Problems of requests, and of definitions and parameters of templates, which stand under `member` of the body; each with its place. */
function toPlaces(problems: unknown, member: 'definition' | 'parameters'): readonly Place[] {
  if (!Array.isArray(problems)) return []
  return problems.slice(0, MAX_PLACES).flatMap((problem: unknown) => {
    if (typeof problem !== 'object' || problem === null) return []
    const { pointer, detail, path, message } = toTexts(problem)
    if (pointer !== undefined) return [{ pointer: clip(pointer), detail: clip(detail ?? '') }]
    return path === undefined ? [] : [{ pointer: clip(toPointer(member, path)), detail: clip(message ?? '') }]
  })
}

function toTexts(problem: object): Partial<Record<'pointer' | 'detail' | 'path' | 'message', string>> {
  return Object.fromEntries(Object.entries(problem).filter(([, value]) => typeof value === 'string'))
}

/** `steps[2].inputFrom` of a member of the body as a JSON Pointer. */
const toPointer = (member: string, path: string): string =>
  `#/${member}/${path
    .split(/[.[\]]+/)
    .filter((part) => part !== '')
    .map((part) => part.replaceAll('~', '~0').replaceAll('/', '~1'))
    .join('/')}`

function toPlainDetails({ problems: _, ...details }: OrchestratorError['details']): Record<string, unknown> | undefined {
  return Object.keys(details).length === 0 ? undefined : details
}
