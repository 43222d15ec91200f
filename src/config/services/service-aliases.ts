type Values = Readonly<Record<string, unknown>>

/** A service with the keys of `serviceSchema`, and the way back to the keys of the file. */
export interface ReadAliases {
  readonly service: Values
  /** The path of a value as the file writes it. */
  pathInFile(path: string): string
  /** Keys of the file that mean the same value. */
  readonly clashes: readonly { readonly path: string; readonly other: string }[]
}

interface Alias {
  readonly keys: readonly string[]
  readonly path: readonly string[]
  readonly convert?: (value: unknown) => unknown
}

const secondsToMs = (value: unknown): unknown => (typeof value === 'number' ? Math.round(value * 1_000) : value)
const toStart = (value: unknown): unknown => (typeof value === 'boolean' ? (value ? 'auto' : 'manual') : value)

/** Other names under which service files write a value. */
const ALIASES: readonly Alias[] = [
  { keys: ['health_endpoint'], path: ['health', 'url'] },
  { keys: ['api_endpoint'], path: ['endpoint'] },
  { keys: ['auto_start'], path: ['start'], convert: toStart },
  { keys: ['restart_policy', 'max_retries'], path: ['restart', 'maxRetries'] },
  { keys: ['restart_policy', 'backoff_seconds'], path: ['restart', 'delayMs'], convert: secondsToMs },
  { keys: ['resources', 'max_memory'], path: ['limits', 'memory'] },
  { keys: ['resources', 'max_cpu'], path: ['limits', 'cpu'] },
  { keys: ['depends_on'], path: ['dependsOn'] },
]

/** Replaces the aliases of a service file by the keys that they stand for. Unknown keys stay, to be refused by name. */
export function readAliases(value: object): ReadAliases {
  let service: Values = { ...value }
  const inFile = new Map<string, string>()
  const clashes: { path: string; other: string }[] = []
  for (const { keys: from, path, convert = (found: unknown) => found } of ALIASES) {
    const found = valueAt(service, from)
    if (found === undefined) continue
    const key = path.join('.')
    if (valueAt(service, path) !== undefined) clashes.push({ path: from.join('.'), other: key })
    service = withValue(withoutValue(service, from), path, convert(found))
    inFile.set(key, from.join('.'))
  }
  return { service, clashes, pathInFile: (path) => inFile.get(path) ?? path }
}

const isValues = (value: unknown): value is Values => typeof value === 'object' && value !== null && !Array.isArray(value)

const valueAt = (values: Values, path: readonly string[]): unknown =>
  path.reduce<unknown>((found, key) => (isValues(found) && Object.hasOwn(found, key) ? found[key] : undefined), values)

/** A group whose last alias is read disappears; one with unknown keys stays. */
function withoutValue(values: Values, [key = '', ...rest]: readonly string[]): Values {
  const { [key]: own, ...others } = values
  if (rest.length === 0 || !isValues(own)) return others
  const inner = withoutValue(own, rest)
  return Object.keys(inner).length === 0 ? others : { ...others, [key]: inner }
}

function withValue(values: Values, [key = '', ...rest]: readonly string[], value: unknown): Values {
  const own = values[key]
  return { ...values, [key]: rest.length === 0 ? value : withValue(isValues(own) ? own : {}, rest, value) }
}
