/** Source of one value of the configuration. */
export interface ConfigSource {
  readonly kind: 'flag' | 'code' | 'environment' | 'dotenv' | 'file' | 'default'
  /** Name of the source for people: `OPENAI_API_KEY in .env`, `polyphony.yaml:7:3`, `--database`. */
  readonly place: string
}

export type ConfigPath = readonly PropertyKey[]

/** Source and path of a value. The path is a list, because keys may contain dots. */
export interface SourcedPath extends ConfigSource {
  readonly path: ConfigPath
}

/** The values of one source of the configuration. */
export interface ConfigLayer {
  readonly values: Readonly<Record<string, unknown>>
  readonly sourceOf: (path: ConfigPath) => ConfigSource
}

export interface MergedConfig {
  readonly values: unknown
  /** Source of every value that is not a group, by its path joined with dots. */
  readonly sources: ReadonlyMap<string, SourcedPath>
}

/** Merges the layers; for each value, the first layer that has it wins. */
export function mergeLayers(layers: readonly ConfigLayer[]): MergedConfig {
  const sources = new Map<string, SourcedPath>()

  const merge = (path: ConfigPath, candidates: readonly { readonly value: unknown; readonly layer: ConfigLayer }[]): unknown => {
    const [strongest, ...weaker] = candidates
    if (!strongest) return undefined
    if (!isGroup(strongest.value)) {
      sources.set(toKey(path), { ...strongest.layer.sourceOf(path), path })
      return strongest.value
    }
    // Groups merge only up to the first layer with a value that is not a group: that value hides the layers after it.
    const end = weaker.findIndex(({ value }) => !isGroup(value))
    const groups = [strongest, ...(end < 0 ? weaker : weaker.slice(0, end))].flatMap(({ value, layer }) =>
      isGroup(value) ? [{ group: value, layer }] : [],
    )
    const keys = new Set(groups.flatMap(({ group }) => Object.keys(group)))
    // Object.fromEntries defines own properties, even for a key named __proto__.
    return Object.fromEntries(
      [...keys].flatMap((key) => {
        const nested = groups.flatMap(({ group, layer }) =>
          Object.hasOwn(group, key) && group[key] !== undefined ? [{ value: group[key], layer }] : [],
        )
        return nested.length === 0 ? [] : [[key, merge([...path, key], nested)]]
      }),
    )
  }

  const values = merge(
    [],
    layers.map((layer) => ({ value: layer.values, layer })),
  )
  return { values, sources }
}

/** A path as text: `server.port`. */
export const toKey = (path: ConfigPath): string => path.map(String).join('.')

/** Settings of an account that may be functions; a group that contains them is merged like any other. */
const FUNCTION_SETTINGS: ReadonlySet<string> = new Set(['fetch', 'headers'])

/** Whether a value is a group of settings. Instances such as a DataSource or a provider object are values. */
export function isGroup(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return false
  const prototype = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return false
  return !Object.entries(value).some(([name, member]) => typeof member === 'function' && !FUNCTION_SETTINGS.has(name))
}
