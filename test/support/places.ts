type Path = readonly (string | number)[]

/** Every place in a value, from its root to its leaves. */
export function pathsOf(value: unknown, at: Path = []): readonly Path[] {
  if (typeof value !== 'object' || value === null) return [at]
  return [
    at,
    ...Object.entries(value).flatMap(([key, child]) => pathsOf(child, [...at, Array.isArray(value) ? Number(key) : key])),
  ]
}

/** Stands for no value at all. */
export const REMOVED = Symbol('removed')

/** A copy in which the value at the path is another one, or gone. */
export function replaced(value: unknown, [key, ...rest]: Path, by: unknown): unknown {
  if (key === undefined) return by
  if (Array.isArray(value)) {
    const entry = typeof key === 'number' ? replaced(value[key], rest, by) : by
    return value.flatMap((child, index) => (index !== key ? [child] : entry === REMOVED ? [] : [entry]))
  }
  const entries = Object.entries(typeof value === 'object' && value !== null ? value : {})
  const child = replaced(entries.find(([name]) => name === key)?.[1], rest, by)
  const others = entries.filter(([name]) => name !== key)
  return Object.fromEntries(child === REMOVED ? others : [...others, [String(key), child]])
}
