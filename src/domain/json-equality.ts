import { isDeepStrictEqual } from 'node:util'

const isPlain = (value: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === Array.prototype || prototype === null
}

/**
 * Whether two JSON values are equal; the order of keys does not matter. Uses no recursion, because that of Node's
 * `isDeepStrictEqual` overflows the stack at about 1,400 levels and requests may have 1,500. Values that are not JSON,
 * such as dates, are compared by `isDeepStrictEqual`.
 */
export function isSameJson(one: unknown, other: unknown): boolean {
  const pairs: (readonly [unknown, unknown])[] = [[one, other]]
  for (let pair = pairs.pop(); pair; pair = pairs.pop()) {
    const [left, right] = pair
    if (Object.is(left, right)) continue
    if (typeof left !== 'object' || typeof right !== 'object' || left === null || right === null) return false
    if (!isPlain(left) || !isPlain(right)) {
      if (!isDeepStrictEqual(left, right)) return false
      continue
    }
    const keys = Object.keys(left)
    if (Array.isArray(left) !== Array.isArray(right) || keys.length !== Object.keys(right).length) return false
    for (const key of keys) {
      if (!Object.hasOwn(right, key)) return false
      pairs.push([Reflect.get(left, key), Reflect.get(right, key)])
    }
  }
  return true
}
