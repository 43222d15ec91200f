import type { HttpOperationSettings } from '../../config/operations/operation-settings.ts'
import type { JsonSchema } from '../../domain/execution/model-call.ts'
import { isRecord } from '../vendor/foreign-json.ts'

const PLACEHOLDER = /\{([A-Za-z_][\w.-]*)\}/g
const ONLY_PLACEHOLDER = /^\{([A-Za-z_][\w.-]*)\}$/
/** Path segments that URL parsers remove or climb by, in every spelling that they accept (WHATWG URL, 2026-11). */
const DOT_SEGMENT = /^(\.|%2e){1,2}$/i

type Arguments = Readonly<Record<string, unknown>>

/** A request to the server of a provider, with a path that begins at its origin. */
export interface OperationRequest {
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
}

/** Names of the arguments that a text of an operation contains. */
const namesIn = (text: string): readonly string[] => [...text.matchAll(PLACEHOLDER)].flatMap((match) => match[1] ?? [])

/** The schema of the arguments of an operation that states none. */
export const defaultInput = ({ path }: Pick<HttpOperationSettings, 'path'>): JsonSchema => ({
  type: 'object',
  properties: Object.fromEntries(namesIn(path).map((name) => [name, { type: ['string', 'number', 'boolean'] }])),
  required: [...new Set(namesIn(path))],
})

/** Problems of arguments that the schema may allow and a request cannot hold. */
export function findArgumentProblems(operation: HttpOperationSettings, given: Arguments): readonly string[] {
  const { path, headers = {} } = operation
  // JSON may hold half of a surrogate pair, which neither an address nor a header can express.
  const broken = Object.entries(given).filter(([, value]) => textsIn(value).some((text) => LONE_SURROGATE.test(text)))
  if (broken.length > 0) return broken.map(([name]) => `arguments.${name}: expected Unicode text, found half of a surrogate pair`)
  const named = new Set(Object.values(headers).flatMap(namesIn))
  const unsendable = [...named].filter((name) => given[name] !== undefined && !HEADER_VALUE.test(toText(given[name])))
  if (unsendable.length > 0) {
    return unsendable.map((name) => `arguments.${name}: expected one line of Latin-1 characters, because it is sent in a header`)
  }
  const fixed = fixedNames(operation)
  const replacing = restOf(operation, given).filter(([name]) => fixed.has(name))
  if (replacing.length > 0) {
    return replacing.map(([name]) => `arguments.${name}: expected no argument of this name, because the operation sets it`)
  }
  return findPathProblems(path, given)
}

const hasBody = ({ method }: HttpOperationSettings): boolean => method === 'POST' || method === 'PUT' || method === 'PATCH'

/** Arguments that the operation does not name. */
function restOf({ path, query = {}, headers = {}, body }: HttpOperationSettings, given: Arguments) {
  const used = new Set([path, ...Object.values(query).map(String), ...Object.values(headers), ...textsIn(body)].flatMap(namesIn))
  return Object.entries(given).filter(([name]) => !used.has(name))
}

/** Names that the operation itself sets where the other arguments go. */
function fixedNames(operation: HttpOperationSettings): ReadonlySet<string> {
  const { query, body } = operation
  const fixed = hasBody(operation) ? body : query
  return new Set(isRecord(fixed) ? Object.keys(fixed) : [])
}

const LONE_SURROGATE = /\p{Surrogate}/u

/** Characters of a header value (RFC 9110, 5.5). */
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/

function findPathProblems(path: string, given: Arguments): readonly string[] {
  const problems = namesIn(path).flatMap((name) => {
    const value = given[name]
    const isPlain = typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    return isPlain && value !== '' ? [] : [`arguments.${name}: expected text or a number for the path ${path}`]
  })
  if (problems.length > 0) return problems
  // A server may decode a value before it resolves the path, so that values of several segments count too.
  const texts = [fillPath(path, given), ...namesIn(path).map((name) => decoded(toText(given[name])))]
  if (texts.includes(undefined)) {
    return [`arguments: expected values that are percent-encoded at most ${MAX_DECODINGS} times for the path ${path}`]
  }
  const hasDots = texts.some((text) => text?.split(/[/\\]/).some((segment) => DOT_SEGMENT.test(segment)))
  return hasDots ? [`arguments: expected values without the segments "." and ".." for the path ${path}`] : []
}

/** Each decoding reads the whole text, so that a long text of many layers would block the process. */
const MAX_DECODINGS = 16

/** A text without percent encoding; one that is malformed stays as it is. `undefined` for more layers than are read. */
function decoded(text: string): string | undefined {
  let current = text
  for (let layer = 0; layer <= MAX_DECODINGS; layer++) {
    try {
      const next = decodeURIComponent(current)
      if (next === current) return current
      current = next
    } catch {
      return current
    }
  }
  return undefined
}

/** Fills the request of an operation. Arguments that it does not name go to the query, or to the body if it has one. */
export function fillOperation(operation: HttpOperationSettings, basePath: string, given: Arguments): OperationRequest {
  const { path, query = {}, headers = {}, body } = operation
  const rest = restOf(operation, given)
  const parameters = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) addParameter(parameters, name, fillValue(value, given))
  if (!hasBody(operation)) for (const [name, value] of rest) addParameter(parameters, name, value)
  const search = parameters.size === 0 ? '' : `?${parameters}`
  return {
    path: `${basePath}${fillPath(path, given)}${search}`,
    headers: Object.fromEntries(
      Object.entries(headers).flatMap(([name, text]) => {
        const value = fillValue(text, given)
        return value === undefined ? [] : [[name.toLowerCase(), toText(value)]]
      }),
    ),
    ...(hasBody(operation) && { body: JSON.stringify(toBody(body, rest, given)) }),
  }
}

const fillPath = (path: string, given: Arguments): string =>
  path.replace(PLACEHOLDER, (_, name: string) => encodeURIComponent(toText(given[name])))

function toBody(body: HttpOperationSettings['body'], rest: readonly (readonly [string, unknown])[], given: Arguments): unknown {
  if (body === undefined) return Object.fromEntries(rest)
  const filled = fillMembers(body, given)
  return typeof filled === 'object' && filled !== null && !Array.isArray(filled)
    ? { ...filled, ...Object.fromEntries(rest) }
    : (filled ?? null)
}

function fillMembers(value: unknown, given: Arguments): unknown {
  if (typeof value === 'string') return fillValue(value, given)
  if (Array.isArray(value)) return value.map((member) => fillMembers(member, given) ?? null)
  if (typeof value !== 'object' || value === null) return value
  // A member whose argument is absent is left out, as JSON leaves out undefined.
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, fillMembers(member, given)]))
}

/** The value of an argument, or text with arguments; `undefined` if one of them is absent. */
function fillValue(text: string | number | boolean, given: Arguments): unknown {
  if (typeof text !== 'string') return text
  const only = ONLY_PLACEHOLDER.exec(text)?.[1]
  if (only !== undefined) return given[only]
  if (namesIn(text).some((name) => given[name] === undefined || given[name] === null)) return undefined
  return text.replace(PLACEHOLDER, (_, name: string) => toText(given[name]))
}

function addParameter(parameters: URLSearchParams, name: string, value: unknown): void {
  if (value === undefined || value === null) return
  for (const one of Array.isArray(value) ? value : [value]) parameters.append(name, toText(one))
}

const toText = (value: unknown): string => (typeof value === 'object' ? JSON.stringify(value) : String(value))

/** All texts of a value, at any depth. */
export function textsIn(value: unknown): readonly string[] {
  if (typeof value === 'string') return [value]
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(textsIn) : []
}
