import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { ConfigLayer, ConfigPath, ConfigSource } from './layers.ts'
import { toKey } from './layers.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** Names in the order in which they count, first wins. */
const PROVIDER_VARIABLES: Readonly<Record<string, { readonly apiKey: readonly string[]; readonly baseUrl: readonly string[] }>> =
  {
    openai: { apiKey: ['OPENAI_API_KEY'], baseUrl: ['OPENAI_BASE_URL'] },
    anthropic: { apiKey: ['ANTHROPIC_API_KEY'], baseUrl: ['ANTHROPIC_BASE_URL'] },
    google: { apiKey: ['GEMINI_API_KEY', 'GOOGLE_API_KEY'], baseUrl: ['GEMINI_BASE_URL', 'GOOGLE_BASE_URL'] },
    groq: { apiKey: ['GROQ_API_KEY'], baseUrl: ['GROQ_BASE_URL'] },
    xai: { apiKey: ['XAI_API_KEY'], baseUrl: ['XAI_BASE_URL'] },
    mistral: { apiKey: ['MISTRAL_API_KEY'], baseUrl: ['MISTRAL_BASE_URL'] },
    deepseek: { apiKey: ['DEEPSEEK_API_KEY'], baseUrl: ['DEEPSEEK_BASE_URL'] },
    openrouter: { apiKey: ['OPENROUTER_API_KEY'], baseUrl: ['OPENROUTER_BASE_URL'] },
    together: { apiKey: ['TOGETHER_API_KEY'], baseUrl: ['TOGETHER_BASE_URL'] },
  }

const PLAIN_VARIABLES: Readonly<Record<string, string>> = {
  database: 'DATABASE_URL',
  redisUrl: 'REDIS_URL',
  engine: 'POLYPHONY_ENGINE',
  logLevel: 'LOG_LEVEL',
}

/** The values of `.env` in the directory; empty where there is no such file. */
export function readDotenv(directory: string): Environment {
  const path = join(directory, '.env')
  try {
    return parseEnv(readFileSync(path, 'utf8'))
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENOENT' || code === 'EISDIR') return {}
    throw new OrchestratorError('CONFIG_INVALID', `Expected a readable file, found ${String(code)} (.env)`, {
      details: { key: '.env', source: '.env' },
      cause: error,
    })
  }
}

/** What one environment says; variables that are empty count as absent. */
export function toEnvironmentLayer(environment: Environment, kind: 'environment' | 'dotenv'): ConfigLayer {
  const variables = new Map<string, string>()
  const find = (path: ConfigPath, names: readonly string[]): string | undefined => {
    const name = names.find((candidate) => environment[candidate]?.trim())
    if (name !== undefined) variables.set(toKey(path), name)
    return name === undefined ? undefined : environment[name]?.trim()
  }

  const values: Record<string, unknown> = {}
  for (const [key, name] of Object.entries(PLAIN_VARIABLES)) {
    const value = find([key], [name])
    if (value !== undefined) values[key] = key === 'logLevel' ? value.toLowerCase() : value
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
