/** Where one value of the configuration came from. */
export interface ConfigSource {
  readonly kind: 'flag' | 'code' | 'environment' | 'dotenv' | 'file' | 'default'
  /** For people: `OPENAI_API_KEY in .env`, `polyphony.yaml:7`, `--database`. */
  readonly place: string
}

export type ConfigPath = readonly PropertyKey[]

/** A value's source and where the value is; keys may hold dots themselves. */
export interface SourcedPath extends ConfigSource {
  readonly path: ConfigPath
}

/** The values of one source. */
export interface ConfigLayer {
  readonly values: Readonly<Record<string, unknown>>
  readonly sourceOf: (path: ConfigPath) => ConfigSource
}

export interface MergedConfig {
  readonly values: unknown
  /** Source of every value that is no group of further ones, by its path joined with dots. */
  readonly sources: ReadonlyMap<string, SourcedPath>
}

/** Lays the sources over one another, value by value; the first one that has a value wins. */
export function mergeLayers(layers: readonly ConfigLayer[]): MergedConfig {
  const sources = new Map<string, SourcedPath>()

  const merge = (path: ConfigPath, candidates: readonly { readonly value: unknown; readonly layer: ConfigLayer }[]): unknown => {
    const [strongest, ...weaker] = candidates
    if (!strongest) return undefined
    if (!isGroup(strongest.value)) {
      sources.set(toKey(path), { ...strongest.layer.sourceOf(path), path })
      return strongest.value
    }
    // Below a value that is no group nothing can be laid under this one.
    const end = weaker.findIndex(({ value }) => !isGroup(value))
    const groups = [strongest, ...(end < 0 ? weaker : weaker.slice(0, end))].flatMap(({ value, layer }) =>
      isGroup(value) ? [{ group: value, layer }] : [],
    )
    const keys = new Set(groups.flatMap(({ group }) => Object.keys(group)))
    // fromEntries defines own properties, also for a key named __proto__.
    return Object.fromEntries(
      [...keys].flatMap((key) => {
        const under = groups.flatMap(({ group, layer }) =>
          Object.hasOwn(group, key) && group[key] !== undefined ? [{ value: group[key], layer }] : [],
        )
        return under.length === 0 ? [] : [[key, merge([...path, key], under)]]
      }),
    )
  }

  const values = merge(
    [],
    layers.map((layer) => ({ value: layer.values, layer })),
  )
  return { values, sources }
}

export const toKey = (path: ConfigPath): string => path.map(String).join('.')

/** Settings of an account that are functions; a group that holds them is still laid over the other sources. */
const FUNCTION_SETTINGS: ReadonlySet<string> = new Set(['fetch', 'headers'])

/** Data that groups further values; instances such as a DataSource or a ready provider are values themselves. */
export function isGroup(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return false
  const prototype = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return false
  return !Object.entries(value).some(([name, member]) => typeof member === 'function' && !FUNCTION_SETTINGS.has(name))
}
