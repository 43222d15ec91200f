import { join, resolve } from 'node:path'
import * as z from 'zod'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { readDocument, readIfThere } from '../config-file.ts'
import type { ConfigLayer, ConfigPath } from '../layers.ts'
import { toKey } from '../layers.ts'

const FILE_NAME = join('config', 'orchestrator.yaml')

const seconds = z.number().positive().max(86_400)
const folder = z.string().min(1)
const LEVELS = { DEBUG: 'debug', INFO: 'info', WARNING: 'warn', WARN: 'warn', ERROR: 'error', CRITICAL: 'error' } as const

const legacySchema = z.strictObject({
  orchestrator: z
    .strictObject({
      host: z.string().min(1).optional(),
      port: z.number().int().min(0).max(65_535).optional(),
      log_level: z
        .string()
        .transform((level) => level.toUpperCase())
        .pipe(z.enum(['DEBUG', 'INFO', 'WARNING', 'WARN', 'ERROR', 'CRITICAL']))
        .optional(),
      data_dir: folder.optional(),
      log_dir: folder.optional(),
      services_dir: folder.optional(),
    })
    .nullish(),
  monitoring: z
    .strictObject({
      /** Seconds between two probes. */
      interval: seconds.optional(),
      /** Seconds for one probe. */
      timeout: seconds.optional(),
      enabled: z.boolean().optional(),
    })
    .nullish(),
  recovery: z
    .strictObject({
      enabled: z.boolean().optional(),
      max_retries: z.number().int().min(0).max(1_000_000).optional(),
      backoff_seconds: z.number().min(0).max(86_400).optional(),
    })
    .nullish(),
  api: z
    .strictObject({
      cors_origins: z.array(z.string()).nullish(),
      /** `null`: no key; the server is then open to programs of this machine and to no other. */
      api_key: z.string().nullish(),
      /** Requests in a minute. */
      rate_limit: z.number().int().positive().nullish(),
    })
    .nullish(),
  database: z.strictObject({ path: folder.optional() }).nullish(),
})
type LegacyValues = z.output<typeof legacySchema>

/** One setting: where the file has it, where the configuration has it, and its value there. */
interface Mapping {
  readonly from: ConfigPath
  readonly to: readonly [string, ...string[]]
  readonly read: (values: LegacyValues, cwd: string) => unknown
}

const toMilliseconds = (value: number | undefined): number | undefined =>
  value === undefined ? undefined : Math.round(value * 1_000)
const toFolder = (cwd: string, path: string | undefined): string | undefined =>
  path === undefined ? undefined : resolve(cwd, path)

const MAPPINGS: readonly Mapping[] = [
  { from: ['orchestrator', 'host'], to: ['server', 'host'], read: ({ orchestrator }) => orchestrator?.host },
  { from: ['orchestrator', 'port'], to: ['server', 'port'], read: ({ orchestrator }) => orchestrator?.port },
  {
    from: ['orchestrator', 'log_level'],
    to: ['logLevel'],
    read: ({ orchestrator }) => orchestrator?.log_level && LEVELS[orchestrator.log_level],
  },
  {
    from: ['orchestrator', 'data_dir'],
    to: ['services', 'dataDir'],
    read: ({ orchestrator }, cwd) => toFolder(cwd, orchestrator?.data_dir),
  },
  {
    from: ['orchestrator', 'log_dir'],
    to: ['services', 'logDir'],
    read: ({ orchestrator }, cwd) => toFolder(cwd, orchestrator?.log_dir),
  },
  {
    from: ['orchestrator', 'services_dir'],
    to: ['services', 'dir'],
    read: ({ orchestrator }, cwd) => toFolder(cwd, orchestrator?.services_dir),
  },
  {
    from: ['monitoring', 'interval'],
    to: ['services', 'health', 'intervalMs'],
    read: ({ monitoring }) => toMilliseconds(monitoring?.interval),
  },
  {
    from: ['monitoring', 'timeout'],
    to: ['services', 'health', 'timeoutMs'],
    read: ({ monitoring }) => toMilliseconds(monitoring?.timeout),
  },
  { from: ['monitoring', 'enabled'], to: ['services', 'health', 'enabled'], read: ({ monitoring }) => monitoring?.enabled },
  {
    from: ['recovery', 'enabled'],
    to: ['services', 'restart', 'when'],
    read: ({ recovery }) => (recovery?.enabled === false ? 'never' : undefined),
  },
  { from: ['recovery', 'max_retries'], to: ['services', 'restart', 'maxRetries'], read: ({ recovery }) => recovery?.max_retries },
  {
    from: ['recovery', 'backoff_seconds'],
    to: ['services', 'restart', 'delayMs'],
    read: ({ recovery }) => toMilliseconds(recovery?.backoff_seconds),
  },
  { from: ['api', 'cors_origins'], to: ['server', 'corsOrigins'], read: ({ api }) => api?.cors_origins ?? undefined },
  { from: ['api', 'api_key'], to: ['server', 'apiKey'], read: ({ api }) => api?.api_key ?? undefined },
  { from: ['api', 'rate_limit'], to: ['server', 'requestsPerMinute'], read: ({ api }) => api?.rate_limit ?? undefined },
  { from: ['database', 'path'], to: ['database'], read: ({ database }, cwd) => database?.path && toDatabase(cwd, database.path) },
]

/** The database is a folder: the one with the name of the file, without its suffix. */
const toDatabase = (cwd: string, path: string): string => `pglite://${resolve(cwd, path).replace(/\.\w+$/, '')}`

/**
 * Reads `config/orchestrator.yaml`, the configuration of a supervisor of agent services, below a directory; `undefined`
 * without such a file. Its paths are relative to the directory. Rejects with CONFIG_INVALID and the position of a key
 * that is unknown or has a wrong value.
 */
export async function readLegacyFile(directory: string): Promise<ConfigLayer | undefined> {
  const text = readIfThere(directory, FILE_NAME)
  if (text === undefined) return undefined
  const document = await readDocument(FILE_NAME, text)
  const parsed = legacySchema.safeParse(document.values)
  if (!parsed.success) throw toError(parsed.error, document)

  const values: Record<string, unknown> = {}
  const origins = new Map<string, ConfigPath>()
  for (const { from, to, read } of MAPPINGS) {
    const value = read(parsed.data, directory)
    if (value === undefined) continue
    setAt(values, to, value)
    origins.set(toKey(to), from)
  }
  return { values, sourceOf: (path) => document.sourceOf(origins.get(toKey(path)) ?? path) }
}

function toError(error: z.ZodError, document: ConfigLayer): OrchestratorError {
  const problems = error.issues.flatMap((issue) => {
    const paths = issue.code === 'unrecognized_keys' ? issue.keys.map((key) => [...issue.path, key]) : [issue.path]
    const expected = issue.code === 'unrecognized_keys' ? 'expected a known key' : issue.message.replace(/^Invalid input: /, '')
    return paths.map((path) => ({ key: toKey(path), expected, source: document.sourceOf(path).place }))
  })
  const lines = problems.map(({ key, expected, source }) => `${key}: ${expected} (${source})`)
  return new OrchestratorError('CONFIG_INVALID', lines.join('\n'), { details: { problems } })
}

function setAt(values: Record<string, unknown>, [first, ...rest]: readonly [string, ...string[]], value: unknown): void {
  const [next, ...deeper] = rest
  if (next === undefined) {
    values[first] = value
    return
  }
  const found = values[first]
  const group: Record<string, unknown> = typeof found === 'object' && found !== null ? { ...found } : {}
  setAt(group, [next, ...deeper], value)
  values[first] = group
}
