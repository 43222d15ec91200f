import { OrchestratorError } from '../errors/orchestrator-error.ts'

/** Levels of objects and lists in arguments; an object that contains itself has more. */
const MAX_LEVELS = 100

/**
 * A text that is equal for equal arguments and for no others: JSON with names in alphabetical order, and with forms of
 * its own for what JSON lacks (`undefined`, NaN, big integers, dates). Throws INPUT_INVALID for any other value.
 */
export const argumentsKey = (namespace: string, args: readonly unknown[]): string => {
  const refuse = (found: string, path: string) =>
    new OrchestratorError(
      'INPUT_INVALID',
      `${path} of a memoized call in "${namespace}": expected plain data, found ${found}. Give memoize a \`key\` for it.`,
    )
  const write = (value: unknown, path: string, level: number): string => {
    if (level > MAX_LEVELS) throw refuse(`more than ${MAX_LEVELS} levels`, path.slice(0, 100))
    if (value === null || typeof value === 'string' || typeof value === 'boolean') return JSON.stringify(value)
    if (typeof value === 'number' || value === undefined) return String(value)
    if (typeof value === 'bigint') return `${value}n`
    if (typeof value !== 'object') throw refuse(`a ${typeof value}`, path)
    if (value instanceof Date) return `Date(${value.getTime()})`
    if (Array.isArray(value)) {
      // `Array.from` visits holes as well, so that a list of them is not written like an empty one.
      return `[${Array.from<unknown, string>(value, (item, index) => write(item, `${path}[${index}]`, level + 1)).join(',')}]`
    }
    const prototype: unknown = Object.getPrototypeOf(value)
    if (prototype !== Object.prototype && prototype !== null) throw refuse('an object of a class', path)
    if (Object.getOwnPropertySymbols(value).length > 0) throw refuse('an object with symbols as names', path)
    const members = Object.keys(value)
      .sort()
      .map((name) => `${JSON.stringify(name)}:${write(Reflect.get(value, name), `${path}.${name}`, level + 1)}`)
    return `{${members.join(',')}}`
  }
  return write(args, 'argument', 0)
}
