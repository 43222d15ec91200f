import type { Json } from '../../prompts/request-key.ts'
import type { RecordedExchange } from './recording-format.ts'

/** The recorded request that differs least from another one. */
export interface ClosestRequest {
  readonly exchange: RecordedExchange
  /** Paths of the values that differ, such as `messages[1].content`; never the values. */
  readonly differing: readonly string[]
}

/** Finds the recorded request of a provider that is most similar to a request; `undefined` without any. */
export function findClosest(
  exchanges: readonly RecordedExchange[],
  request: RecordedExchange['request'],
): ClosestRequest | undefined {
  let closest: ClosestRequest | undefined
  for (const exchange of exchanges) {
    const differing = differences(exchange.request, request, '')
    if (!closest || differing.length < closest.differing.length) closest = { exchange, differing }
  }
  return closest
}

type Value = Json | undefined

function differences(a: Value, b: Value, path: string): readonly string[] {
  if (a === b) return []
  if (!isGroup(a) || !isGroup(b) || Array.isArray(a) !== Array.isArray(b)) return [path === '' ? 'request' : path]
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].flatMap((name) =>
    differences(
      memberOf(a, name),
      memberOf(b, name),
      Array.isArray(a) ? `${path}[${name}]` : path === '' ? name : `${path}.${name}`,
    ),
  )
}

const isGroup = (value: Value): value is Extract<Json, object> => typeof value === 'object' && value !== null

const memberOf = (group: Extract<Json, object>, name: string): Value =>
  Object.hasOwn(group, name) ? Reflect.get(group, name) : undefined
