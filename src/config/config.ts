import { resolve } from 'node:path'
import type * as z from 'zod'
import { findSuggestion, withSuggestion } from '../domain/definition/suggestion.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { readConfigFile } from './config-file.ts'
import { knownKeys } from './config-json-schema.ts'
import {
  type ConfigValues,
  configSchema,
  isPluggedProvider,
  type PluggedProvider,
  type PolyphonyConfigInput,
} from './config-schema.ts'
import { type Environment, readDotenv, toEnvironmentLayer } from './environment.ts'
import { findMisboundKeys, type MisboundKey } from './key-origin.ts'
import { type ConfigPath, isGroup, type MergedConfig, mergeLayers, type SourcedPath, toKey } from './layers.ts'
import { providerSettingsSchema } from './provider-settings.ts'
import { readLegacyFile } from './services/legacy-file.ts'

export type { ScheduleSettings } from './automation/schedule-settings.ts'
export type { WebhookSettings } from './automation/webhook-settings.ts'
export type { ConfiguredPrice, Logger, LogLevel, PolyphonyConfigInput } from './config-schema.ts'
export type { AgentSettings } from './operations/agent-settings.ts'
export type { ServerSettings } from './server-settings.ts'

/** The checked configuration with the sources of its values. Created once per Polyphony instance. */
export interface PolyphonyConfig extends ConfigValues {
  readonly migrations: NonNullable<ConfigValues['migrations']>
  /** Source of every value, by its path joined with dots; values without an entry are defaults. */
  readonly sources: ReadonlyMap<string, SourcedPath>
}

export interface LoadConfigOptions {
  /** Default: the environment of the process. */
  readonly env?: Environment
  /** Directory of `.env` and `polyphony.yaml`. Default: the working directory. */
  readonly cwd?: string
  /** Values of command line flags, in the structure of the configuration. */
  readonly flags?: PolyphonyConfigInput
  /** Value of `migrations` where no source has one. Default: `auto`. */
  readonly defaultMigrations?: ConfigValues['migrations']
}

/** One value for `polyphony doctor`, safe to print. */
export interface DescribedValue {
  readonly key: string
  /** The value as text; `set` for secrets. */
  readonly value: string
  readonly source: string
}

/** One invalid value of the configuration. */
export interface ConfigProblem {
  readonly key: string
  readonly expected: string
  /** The value as text; absent for secrets. */
  readonly found?: string
  readonly source: string
}

/**
 * Loads the configuration. For each value, flags win over `input`, then the environment, `.env`, `polyphony.yaml`,
 * `config/orchestrator.yaml` and the default. Rejects with CONFIG_INVALID; `details.problems` lists every invalid key
 * with the expected and the found value and its source.
 */
export async function loadConfig(input: PolyphonyConfigInput = {}, options: LoadConfigOptions = {}): Promise<PolyphonyConfig> {
  const { env = process.env, cwd = process.cwd(), flags = {}, defaultMigrations = 'auto' } = options
  const [file, legacyFile] = await Promise.all([readConfigFile(cwd), readLegacyFile(cwd)])
  const merged = mergeLayers([
    { values: { ...flags }, sourceOf: (path) => ({ kind: 'flag', place: `--${toFlag(path)}` }) },
    { values: { ...input }, sourceOf: () => ({ kind: 'code', place: 'argument of createPolyphony' }) },
    toEnvironmentLayer(env, 'environment'),
    toEnvironmentLayer(readDotenv(cwd), 'dotenv'),
    ...(file ? [file] : []),
    ...(legacyFile ? [legacyFile] : []),
  ])
  const config = parseConfig(merged, defaultMigrations)
  return typeof config.functions === 'string' ? { ...config, functions: resolve(cwd, config.functions) } : config
}

/** All values that are not defaults, and the most important defaults, with their sources; safe to print. */
export function describeSources(config: PolyphonyConfig): readonly DescribedValue[] {
  const { sources, ...values } = config
  const defaults = ['database', 'engine', 'simulator', 'logLevel'].filter((key) => !sources.has(key))
  const paths: readonly ConfigPath[] = [...[...sources.values()].map(({ path }) => path), ...defaults.map((key) => [key])]
  return paths
    .map((path) => ({
      key: toKey(path),
      value: toShown(path, valueAt(values, path)),
      source: sources.get(toKey(path))?.place ?? 'default',
    }))
    .sort((a, b) => a.key.localeCompare(b.key))
}

function parseConfig({ values, sources }: MergedConfig, defaultMigrations: PolyphonyConfig['migrations']): PolyphonyConfig {
  const { plugged: providerObjects, rest } = separateProviderObjects(values)
  // Parsed once per process: compiling the schema takes longer than parsing a configuration.
  const parsed = configSchema.safeParse(rest, { jitless: true })
  if (!parsed.success) throw toConfigError(parsed.error.issues.flatMap((issue) => toProblems(issue, rest, sources)))
  const misdirectedKeys = findMisboundKeys({ values, sources })
  if (misdirectedKeys.length > 0) throw toConfigError(misdirectedKeys.map(toKeyProblem))
  if (parsed.data.record !== undefined && parsed.data.replay !== undefined) {
    const expected = 'expected either `record` or `replay`, found both'
    throw toConfigError([{ key: 'replay', expected, source: sourceOf(['replay'], sources) }])
  }
  const { migrations = defaultMigrations } = parsed.data
  return { ...parsed.data, migrations, providers: { ...parsed.data.providers, ...providerObjects }, sources }
}

function separateProviderObjects(values: unknown): { plugged: Record<string, PluggedProvider>; rest: unknown } {
  if (!isGroup(values) || !isGroup(values.providers)) return { plugged: {}, rest: values }
  const providerObjects: [string, PluggedProvider][] = []
  const accounts: [string, unknown][] = []
  for (const [id, value] of Object.entries(values.providers)) {
    if (isPluggedProvider(value)) providerObjects.push([id, value])
    else accounts.push([id, value])
  }
  return { plugged: Object.fromEntries(providerObjects), rest: { ...values, providers: Object.fromEntries(accounts) } }
}

function toConfigError(problems: readonly ConfigProblem[]): OrchestratorError {
  const lines = problems.map(({ key, expected, found, source }) => {
    return `${key}: ${expected}${found === undefined ? '' : `, found ${found}`} (${source})`
  })
  return new OrchestratorError('CONFIG_INVALID', lines.join('\n'), { details: { problems } })
}

function toProblems(issue: z.core.$ZodIssue, values: unknown, sources: MergedConfig['sources']): readonly ConfigProblem[] {
  if (issue.code === 'unrecognized_keys') {
    // The value is never shown, because the value of a mistyped key such as `api_key` may be a secret.
    return issue.keys
      .map((key) => ({ path: [...issue.path, key], suggestion: findSuggestion(key, knownKeys(issue.path)) }))
      .map(({ path, suggestion }) => ({
        key: toKey(path),
        expected: withSuggestion('expected a known key', suggestion),
        source: sourceOf(path, sources),
      }))
  }
  const value = valueAt(values, issue.path)
  const found = mayBeShown(issue.path) ? toFound(value) : value === undefined ? 'nothing' : undefined
  const problem = { key: toKey(issue.path), expected: toExpected(issue.message), source: sourceOf(issue.path, sources) }
  return [found === undefined ? problem : { ...problem, found }]
}

const toKeyProblem = ({ provider, key, setting, address }: MisboundKey): ConfigProblem => ({
  key: `providers.${provider}.${setting}`,
  expected: `expected to be set beside the key it would receive, which comes from ${key.place}`,
  source: address.place,
})

/** The source of a value, of a value inside it, or of the group that contains it. */
function sourceOf(path: ConfigPath, sources: MergedConfig['sources']): string {
  for (let length = path.length; length > 0; length--) {
    const key = toKey(path.slice(0, length))
    const source = sources.get(key) ?? [...sources].find(([other]) => other.startsWith(`${key}.`))?.[1]
    if (source) return source.place
  }
  return 'not set'
}

const toExpected = (message: string): string => {
  const expected = message.replace(/^Invalid (input|option)(: )?/, '').replace(/, received .*$/, '')
  return expected === 'Invalid URL' ? 'expected a URL' : expected
}

function toFound(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (typeof value === 'string') return JSON.stringify(withoutPassword(value).slice(0, 100))
  if (typeof value === 'number' || typeof value === 'boolean' || value === null) return String(value)
  return Array.isArray(value) ? 'a list' : `a value of type ${typeof value}`
}

const SECRET_PROVIDER_KEYS: ReadonlySet<string> = new Set(['apiKey', 'apiKeys', 'headers'])
const SECRET_MCP_KEYS: ReadonlySet<PropertyKey> = new Set(['headers', 'env', 'args'])
const PLAIN_PROVIDER_KEYS: ReadonlySet<PropertyKey> = new Set(
  Object.keys(providerSettingsSchema.shape).filter((key) => !SECRET_PROVIDER_KEYS.has(key)),
)

/** Whether a value may be printed: not keys, not URLs with passwords, and nothing at a path of either. */
function mayBeShown([first, second, third, ...deeper]: ConfigPath): boolean {
  if (first === 'database' || first === 'redisUrl') return false
  if (first === 'webhooks') return third === 'events'
  if (first === 'server' && second === 'apiKey') return false
  if (first === 'mcp') return third === undefined || !SECRET_MCP_KEYS.has(third)
  return first !== 'providers' || (third !== undefined && deeper.length === 0 && PLAIN_PROVIDER_KEYS.has(third))
}

function toShown(path: ConfigPath, value: unknown): string {
  const isAddress = path[0] === 'database' || path[0] === 'redisUrl'
  if (typeof value === 'string' && (isAddress || mayBeShown(path))) return withoutPassword(value)
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : 'set'
}

/** Removes user, password, query and fragment from a URL; other text stays as it is. */
const withoutPassword = (text: string): string =>
  /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text.replace(/\/\/[^/]*@/, '//…@').replace(/[?#].*$/s, '') : text

function valueAt(values: unknown, path: ConfigPath): unknown {
  let value = values
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined
    value = Reflect.get(value, part)
  }
  return value
}

const toFlag = (path: ConfigPath): string =>
  path.map((part) => String(part).replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)).join('-')
