import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { decodeText } from './decode-text.ts'
import type { ConfigLayer, ConfigPath, ConfigSource } from './layers.ts'
import { isGroup, toKey } from './layers.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** Variables of the accounts; the first name that is set wins. */
const PROVIDER_VARIABLES: Readonly<Record<string, { readonly apiKey: readonly string[]; readonly baseUrl: readonly string[] }>> =
  {
    openai: { apiKey: ['OPENAI_API_KEY'], baseUrl: ['OPENAI_BASE_URL'] },
    anthropic: { apiKey: ['ANTHROPIC_API_KEY'], baseUrl: ['ANTHROPIC_BASE_URL'] },
    google: { apiKey: ['GEMINI_API_KEY', 'GOOGLE_API_KEY'], baseUrl: ['GEMINI_BASE_URL', 'GOOGLE_BASE_URL'] },
    groq: { apiKey: ['GROQ_API_KEY'], baseUrl: ['GROQ_BASE_URL'] },
    xai: { apiKey: ['XAI_API_KEY', 'GROK_API_KEY'], baseUrl: ['XAI_BASE_URL'] },
    mistral: { apiKey: ['MISTRAL_API_KEY'], baseUrl: ['MISTRAL_BASE_URL'] },
    deepseek: { apiKey: ['DEEPSEEK_API_KEY'], baseUrl: ['DEEPSEEK_BASE_URL'] },
    openrouter: { apiKey: ['OPENROUTER_API_KEY'], baseUrl: ['OPENROUTER_BASE_URL'] },
    together: { apiKey: ['TOGETHER_API_KEY'], baseUrl: ['TOGETHER_BASE_URL'] },
    helicone: { apiKey: ['HELICONE_API_KEY'], baseUrl: ['HELICONE_BASE_URL'] },
  }

const asText = (text: string): unknown => text
/** Text that is not a number stays text, so that the schema's error shows the value that was found. */
const asNumber = (text: string): unknown => (Number.isNaN(Number(text)) ? text : Number(text))
const asList = (text: string): unknown => text.split(',').map((item) => item.trim())
const asFlag = (text: string): unknown => (/^(true|false)$/i.test(text) ? text.toLowerCase() === 'true' : text)

/** Names that programs in other languages give to levels. */
const LEVEL_NAMES: Readonly<Record<string, string>> = { warning: 'warn', critical: 'error', fatal: 'error', trace: 'debug' }
const asLevel = (text: string): unknown => LEVEL_NAMES[text.toLowerCase()] ?? text.toLowerCase()
/** Any other value than true leaves the level as it is. */
const asDebugLevel = (text: string): unknown => (/^(true|1|yes|on)$/i.test(text) ? 'debug' : undefined)

interface PlainVariable {
  /** The first of these that is set wins; later ones are names that other services use. */
  readonly names: readonly string[]
  readonly path: readonly [string, ...string[]]
  /** Undefined: the text sets nothing. */
  readonly read: (text: string) => unknown
}
const plain = (names: string, path: string, read: (text: string) => unknown): PlainVariable => {
  const [first = '', ...rest] = path.split('.')
  return { names: names.split(' '), path: [first, ...rest], read }
}

/** Variables of single settings with the conversion of their text. Of two for one setting, the first one wins. */
const PLAIN_VARIABLES: readonly PlainVariable[] = [
  plain('DATABASE_URL', 'database', asText),
  plain('POLYPHONY_MIGRATIONS', 'migrations', asText),
  plain('REDIS_URL', 'redisUrl', asText),
  plain('POLYPHONY_ENGINE', 'engine', asText),
  plain('POLYPHONY_TAKES_FLOWS', 'takesFlows', asFlag),
  plain('ORCHESTRATOR_WORKERS', 'bullmq.concurrency', asNumber),
  plain('ENABLE_DEBUG', 'logLevel', asDebugLevel),
  plain('LOG_LEVEL', 'logLevel', asLevel),
  plain('POLYPHONY_SIMULATOR', 'simulator', asFlag),
  plain('POLYPHONY_HOST ORCHESTRATOR_HOST', 'server.host', asText),
  plain('POLYPHONY_PORT ORCHESTRATOR_PORT', 'server.port', asNumber),
  plain('POLYPHONY_HEALTH_PORT', 'worker.healthPort', asNumber),
  plain('POLYPHONY_PUBLIC_URL', 'server.publicUrl', asText),
  plain('POLYPHONY_ALLOWED_HOSTS', 'server.allowedHosts', asList),
  plain('POLYPHONY_CORS_ORIGINS CORS_ORIGINS', 'server.corsOrigins', asList),
  plain('POLYPHONY_API_KEY API_KEY', 'server.apiKey', asText),
  plain('POLYPHONY_TRUST_PROXY', 'server.trustProxy', asFlag),
  plain('POLYPHONY_REQUESTS_PER_MINUTE', 'server.requestsPerMinute', asNumber),
  plain('POLYPHONY_JWT_ISSUER', 'server.jwt.issuer', asText),
  plain('POLYPHONY_JWT_AUDIENCE', 'server.jwt.audience', asText),
  plain('POLYPHONY_JWKS_URL', 'server.jwt.jwksUrl', asText),
]

/** Reads `.env` in a directory; empty if there is no such file. Throws CONFIG_INVALID for an unreadable file. */
export function readDotenv(directory: string): Environment {
  const path = join(directory, '.env')
  try {
    return parseEnv(decodeText(readFileSync(path), { name: '.env', code: 'CONFIG_INVALID' }))
  } catch (error) {
    if (OrchestratorError.is(error)) throw error
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENOENT' || code === 'EISDIR') return {}
    throw new OrchestratorError('CONFIG_INVALID', `Expected a readable file, found ${String(code)} (.env)`, {
      details: { key: '.env', source: '.env' },
      cause: error,
    })
  }
}

/** The values of one environment as a layer of the configuration. Empty variables count as absent. */
export function toEnvironmentLayer(environment: Environment, kind: 'environment' | 'dotenv'): ConfigLayer {
  const variables = new Map<string, string>()
  const find = (path: ConfigPath, names: readonly string[]): string | undefined => {
    const name = names.find((candidate) => environment[candidate]?.trim())
    if (name !== undefined) variables.set(toKey(path), name)
    return name === undefined ? undefined : environment[name]?.trim()
  }

  const values: Record<string, unknown> = {}
  for (const { names, path, read } of PLAIN_VARIABLES) {
    if (variables.has(toKey(path))) continue
    const text = find(path, names)
    if (text === undefined) continue
    const value = read(text)
    if (value === undefined) variables.delete(toKey(path))
    else setAt(values, path, value)
  }
  const providers: Record<string, unknown> = {}
  for (const [id, names] of Object.entries(PROVIDER_VARIABLES)) {
    const apiKey = find(['providers', id, 'apiKey'], names.apiKey)
    const baseUrl = find(['providers', id, 'baseUrl'], names.baseUrl)
    if (apiKey !== undefined || baseUrl !== undefined) providers[id] = { ...(apiKey && { apiKey }), ...(baseUrl && { baseUrl }) }
  }
  const sourceOf = (path: ConfigPath): ConfigSource => {
    const name = variables.get(toKey(path)) ?? 'environment'
    return { kind, place: kind === 'dotenv' ? `${name} in .env` : name }
  }
  return { values: { ...values, providers }, sourceOf }
}

function setAt(values: Record<string, unknown>, [first, ...rest]: readonly [string, ...string[]], value: unknown): void {
  const [next, ...deeper] = rest
  if (next === undefined) {
    values[first] = value
    return
  }
  const group = { ...(isGroup(values[first]) ? values[first] : {}) }
  setAt(group, [next, ...deeper], value)
  values[first] = group
}
