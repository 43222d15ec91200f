import { networkError, PolyphonyError } from '../polyphony-error.ts'
import { parseRetryAfter } from '../timing.ts'
import type { WireProblem } from '../wire.ts'

/** Statuses with which gateways and servers say that a later try may succeed. */
const PASSING: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504])

/**
 * The body of an answer. Throws NETWORK where the body was cut, BAD_ANSWER where it is no JSON object. What is in it is believed unread: the server
 * made it with the schemas that the types come from, and a client that carries the schemas would be many times larger.
 */
export async function readClientAnswer<Wire>(response: Response): Promise<Wire> {
  const body = parseOrUndefined(await textOf(response))
  if (!isAnswer<Wire>(body)) throw badAnswer(response)
  return body
}

const isAnswer = <Wire>(body: unknown): body is Wire => isJsonObject(body)

/** The error that an answer with a status of 400 and more tells. Throws NETWORK where its body was cut. */
export async function readError(response: Response): Promise<PolyphonyError> {
  const body = parseOrUndefined(await textOf(response))
  return isProblem(body) ? toPolyphonyError(body, response) : badAnswer(response)
}

/** A problem as an error; `response`: the answer that it came with, if it was not part of a stream. */
export function toPolyphonyError(problem: WireProblem, response?: Response): PolyphonyError {
  const { code, detail, status, pointer, errors, remedy, retryable, details, requestId } = problem
  return new PolyphonyError(code, detail, {
    status: response?.status ?? status,
    pointer,
    errors,
    remedy,
    retryable,
    details,
    requestId: requestId ?? response?.headers.get('x-request-id') ?? undefined,
    retryAfterMs: response && retryAfterOf(response),
  })
}

export const isProblem = (value: unknown): value is WireProblem =>
  isJsonObject(value) &&
  typeof value.code === 'string' &&
  typeof value.detail === 'string' &&
  typeof value.retryable === 'boolean'

/** An answer of something else than Polyphony: a redirect, a proxy's page, a login, another server. Nothing of its text is repeated. */
export function badAnswer(response: Response): PolyphonyError {
  const { status, headers } = response
  const kind = headers.get('content-type')?.split(';', 1)[0] || 'no content type'
  const what = isRedirect(response)
    ? 'A redirect, which is not followed: expected `baseUrl` to be the address that it leads to'
    : `HTTP ${status} with something that Polyphony does not send (${kind.slice(0, 100)})`
  return new PolyphonyError('BAD_ANSWER', what, {
    status,
    retryable: PASSING.has(status),
    retryAfterMs: retryAfterOf(response),
    requestId: headers.get('x-request-id') ?? undefined,
  })
}

/** Browsers show nothing else of a redirect than that it is one. */
const isRedirect = ({ type, status }: Response): boolean => type === 'opaqueredirect' || (status >= 300 && status < 400)

export const isJsonObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const retryAfterOf = ({ headers }: Response): number | undefined => parseRetryAfter(headers.get('retry-after'), Date.now())

async function textOf(response: Response): Promise<string> {
  try {
    return await response.text()
  } catch (error) {
    throw networkError('The answer was cut', error)
  }
}
