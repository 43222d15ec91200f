import type { PRESETS } from '../config/provider-settings.ts'
import { type ChatDialect, UNKNOWN_DIALECT } from './openai/dialect.ts'

export type PresetName = (typeof PRESETS)[number]

/** Known facts of a service that speaks Chat Completions. */
export interface Preset {
  /** Absent if every account has its own. */
  readonly baseUrl?: string
  /** Environment variable that usually holds its key. Absent for servers without keys. */
  readonly keyVariable?: string
  readonly dialect: ChatDialect
  /** Header of the key; default `authorization`. */
  readonly keyHeader?: 'api-key'
}

const local = (baseUrl: string): Preset => ({
  baseUrl,
  dialect: { ...UNKNOWN_DIALECT, maxTokensField: 'max_tokens', structuredOutput: 'json_schema' },
})
const hosted = (baseUrl: string, keyVariable: string, dialect: Partial<ChatDialect>): Preset => ({
  baseUrl,
  keyVariable,
  dialect: { ...UNKNOWN_DIALECT, maxTokensField: 'max_tokens', thinkTags: false, ...dialect },
})

/** Addresses and deviations from Chat Completions, from the documentation of each service, 2026-11. */
export const PRESET_TABLE: Readonly<Record<PresetName, Preset>> = {
  ollama: local('http://127.0.0.1:11434/v1'),
  lmstudio: local('http://127.0.0.1:1234/v1'),
  vllm: local('http://127.0.0.1:8000/v1'),
  groq: hosted('https://api.groq.com/openai/v1', 'GROQ_API_KEY', {
    maxTokensField: 'max_completion_tokens',
    structuredOutput: /gpt-oss/,
    maxStopSequences: 4,
    thinkTags: true,
  }),
  xai: hosted('https://api.x.ai/v1', 'XAI_API_KEY', { structuredOutput: 'json_schema', maxStopSequences: 4 }),
  mistral: hosted('https://api.mistral.ai/v1', 'MISTRAL_API_KEY', {
    structuredOutput: 'json_schema',
    asksForStreamUsage: false,
    thinkTags: true,
  }),
  deepseek: hosted('https://api.deepseek.com/v1', 'DEEPSEEK_API_KEY', { structuredOutput: 'json_object' }),
  openrouter: hosted('https://openrouter.ai/api/v1', 'OPENROUTER_API_KEY', {
    structuredOutput: 'json_schema',
    extraBody: { usage: { include: true } },
    thinkTags: true,
  }),
  together: hosted('https://api.together.xyz/v1', 'TOGETHER_API_KEY', { structuredOutput: 'json_schema', thinkTags: true }),
  azure: {
    keyVariable: 'AZURE_OPENAI_API_KEY',
    keyHeader: 'api-key',
    dialect: { ...UNKNOWN_DIALECT, structuredOutput: 'json_schema', maxStopSequences: 4 },
  },
}
