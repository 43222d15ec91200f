import type { PRESETS } from '../config/provider-settings.ts'
import {
  type ChatDialect,
  DEEPSEEK_REASONING,
  GROQ_REASONING,
  MISTRAL_REASONING,
  OPENROUTER_REASONING,
  UNKNOWN_DIALECT,
  VERTEX_REASONING,
  VLLM_REASONING,
} from './openai/dialect.ts'

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

const local = (baseUrl: string, dialect: Partial<ChatDialect> = {}): Preset => ({
  baseUrl,
  dialect: { ...UNKNOWN_DIALECT, maxTokensField: 'max_tokens', structuredOutput: 'json_schema', ...dialect },
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
  vllm: local('http://127.0.0.1:8000/v1', { ...VLLM_REASONING, files: ['image', 'audio'] }),
  groq: hosted('https://api.groq.com/openai/v1', 'GROQ_API_KEY', {
    maxTokensField: 'max_completion_tokens',
    structuredOutput: /gpt-oss/,
    maxStopSequences: 4,
    thinkTags: true,
    schemaExcludesTools: true,
    ...GROQ_REASONING,
  }),
  xai: hosted('https://api.x.ai/v1', 'XAI_API_KEY', {
    structuredOutput: 'json_schema',
    maxStopSequences: 4,
    returnsReasoning: 'never',
  }),
  mistral: hosted('https://api.mistral.ai/v1', 'MISTRAL_API_KEY', {
    structuredOutput: 'json_schema',
    asksForStreamUsage: false,
    thinkTags: true,
    seedField: 'random_seed',
    anyTool: 'any',
    shortToolCallIds: true,
    files: ['image', 'pdf'],
    documentUrls: true,
    ...MISTRAL_REASONING,
  }),
  deepseek: hosted('https://api.deepseek.com/v1', 'DEEPSEEK_API_KEY', {
    structuredOutput: 'json_object',
    files: [],
    ...DEEPSEEK_REASONING,
  }),
  openrouter: hosted('https://openrouter.ai/api/v1', 'OPENROUTER_API_KEY', {
    structuredOutput: 'json_schema',
    extraBody: { usage: { include: true } },
    thinkTags: true,
    files: ['image', 'pdf', 'audio'],
    cacheKeys: true,
    cacheMarks: (model) => /^anthropic\//.test(model),
    toHostedToolFields: (name) => (name === 'web_search' ? { plugins: [{ id: 'web' }] } : undefined),
    hostedTools: ['web_search'],
    ...OPENROUTER_REASONING,
  }),
  together: hosted('https://api.together.xyz/v1', 'TOGETHER_API_KEY', { structuredOutput: 'json_schema', thinkTags: true }),
  azure: {
    keyVariable: 'AZURE_OPENAI_API_KEY',
    keyHeader: 'api-key',
    dialect: {
      ...UNKNOWN_DIALECT,
      structuredOutput: 'json_schema',
      maxStopSequences: 4,
      strictTools: true,
      cacheKeys: true,
      files: ['image', 'audio'],
      efforts: undefined,
    },
  },
  // The address names a region: https://bedrock-runtime.<region>.amazonaws.com/openai/v1.
  bedrock: {
    keyVariable: 'AWS_BEARER_TOKEN_BEDROCK',
    dialect: { ...UNKNOWN_DIALECT, maxTokensField: 'max_completion_tokens' },
  },
  // The address names a project and a place; tokens of an hour take the place of a key.
  vertex: {
    dialect: {
      ...UNKNOWN_DIALECT,
      maxTokensField: 'max_tokens',
      structuredOutput: 'json_schema',
      thinkTags: false,
      files: ['image', 'audio'],
      ...VERTEX_REASONING,
    },
  },
  // A gateway of one's own, which adapts requests to the service behind it and drops what that does not take.
  litellm: local('http://127.0.0.1:4000/v1', {
    maxTokensField: 'by-model',
    files: ['image', 'pdf', 'audio'],
    efforts: undefined,
  }),
  helicone: hosted('https://ai-gateway.helicone.ai/v1', 'HELICONE_API_KEY', {
    maxTokensField: 'by-model',
    structuredOutput: 'json_schema',
    files: ['image'],
  }),
}
