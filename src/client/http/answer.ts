import { networkError, PolyphonyError } from '../polyphony-error.ts'
import { parseRetryAfter } from '../timing.ts'
import type { WireProblem } from '../wire.ts'

/** Statuses after which a later attempt may succeed. */
const TRANSIENT_STATUSES: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504])

/**
 * Reads the body of an answer. Throws NETWORK for an interrupted body and BAD_ANSWER for anything but a JSON object.
 * The contents are not validated: the server creates them with the schemas from which the types derive, and a client
 * with these schemas would be many times larger.
 */
export async function readClientAnswer<Wire>(response: Response): Promise<Wire> {
  const body = parseOrUndefined(await textOf(response))
  if (!isAnswer<Wire>(body)) throw badAnswer(response)
  return body
}

/** As `readClientAnswer`, for a JSON list. */
export async function readListAnswer<Item>(response: Response): Promise<readonly Item[]> {
  const body = parseOrUndefined(await textOf(response))
  if (!isList<Item>(body)) throw badAnswer(response)
  return body
}

const isList = <Item>(body: unknown): body is readonly Item[] => Array.isArray(body)

const isAnswer = <Wire>(body: unknown): body is Wire => isJsonObject(body)

/** Reads the error from an answer with a status other than 2xx. Throws NETWORK for an interrupted body. */
export async function readError(response: Response): Promise<PolyphonyError> {
  const body = parseOrUndefined(await textOf(response))
  return isProblem(body) ? toPolyphonyError(body, response) : badAnswer(response)
}

/** Converts a problem of the server to an error. `response` is its answer, unless the problem is part of a stream. */
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

/** Whether a value has the required fields of a problem. */
export const isProblem = (value: unknown): value is WireProblem =>
  isJsonObject(value) &&
  typeof value.code === 'string' &&
  typeof value.detail === 'string' &&
  typeof value.retryable === 'boolean'

/**
 * The error for an answer that is not from Polyphony: a redirect, a page of a proxy, a login. Its text is not repeated.
 */
export function badAnswer(response: Response): PolyphonyError {
  const { status, headers } = response
  const kind = headers.get('content-type')?.split(';', 1)[0] || 'no content type'
  const description = isRedirect(response)
    ? 'A redirect, which is not followed: expected `baseUrl` to be the address that it leads to'
    : `HTTP ${status} with a response that is not from Polyphony (${kind.slice(0, 100)})`
  return new PolyphonyError('BAD_ANSWER', description, {
    status,
    retryable: TRANSIENT_STATUSES.has(status),
    retryAfterMs: retryAfterOf(response),
    requestId: headers.get('x-request-id') ?? undefined,
  })
}

/** Whether an answer is a redirect. Browsers show only this fact of it, as type `opaqueredirect`. */
const isRedirect = ({ type, status }: Response): boolean => type === 'opaqueredirect' || (status >= 300 && status < 400)

/** Whether a value is an object and not an array. */
export const isJsonObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Parses JSON; `undefined` if the text is invalid. */
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
    throw networkError('The answer was interrupted', error)
  }
}
