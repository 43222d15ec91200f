import type { PRESETS } from '../config/provider-settings.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { type ChatDialect, UNKNOWN_DIALECT } from './openai/dialect.ts'
import { createOpenAiProvider, type OpenAiSettings, type OpenAiVariant } from './openai.ts'
import type { Provider } from './provider.ts'

export type PresetName = (typeof PRESETS)[number]

/** What is known of a service that speaks Chat Completions. */
export interface Preset {
  /** Absent where every account has its own. */
  readonly baseUrl?: string
  /** Environment variable that usually holds its key; absent for servers that need none. */
  readonly keyVariable?: string
  readonly dialect: ChatDialect
  readonly keyHeader?: OpenAiVariant['keyHeader']
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

/** Addresses and quirks as the services document them, 2026-11. */
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
  mistral: hosted('https://api.mistral.ai/v1', 'MISTRAL_API_KEY', { structuredOutput: 'json_schema', asksForStreamUsage: false }),
  deepseek: hosted('https://api.deepseek.com/v1', 'DEEPSEEK_API_KEY', { structuredOutput: 'json_object' }),
  openrouter: hosted('https://openrouter.ai/api/v1', 'OPENROUTER_API_KEY', {
    structuredOutput: 'json_schema',
    extraBody: { usage: { include: true } },
  }),
  together: hosted('https://api.together.xyz/v1', 'TOGETHER_API_KEY', { structuredOutput: 'json_schema', thinkTags: true }),
  azure: {
    keyVariable: 'AZURE_OPENAI_API_KEY',
    keyHeader: 'api-key',
    dialect: { ...UNKNOWN_DIALECT, structuredOutput: 'json_schema', maxStopSequences: 4, thinkTags: false },
  },
}

export interface OpenAiCompatibleSettings extends OpenAiSettings {
  readonly preset?: PresetName
}

/** Speaks Chat Completions to a named preset, or to any server at `baseUrl`. Rejects with CONFIG_INVALID when neither tells an address. */
export async function createOpenAiCompatibleProvider(settings: OpenAiCompatibleSettings): Promise<Provider> {
  const preset = settings.preset && PRESET_TABLE[settings.preset]
  const baseUrl = settings.baseUrl ?? preset?.baseUrl
  if (!baseUrl) {
    throw new OrchestratorError(
      'CONFIG_INVALID',
      `providers.${settings.id}: expected \`baseUrl\`, for example https://NAME.openai.azure.com`,
      {
        details: { provider: settings.id },
      },
    )
  }
  const azure = settings.preset === 'azure' && !settings.simulated ? toAzureAddress(baseUrl, settings.apiVersion) : undefined
  return createOpenAiProvider(
    { ...settings, api: settings.api ?? 'chat', baseUrl: azure?.baseUrl ?? baseUrl },
    {
      kind: 'openai-compatible',
      dialect: preset?.dialect ?? UNKNOWN_DIALECT,
      keyHeader: preset?.keyHeader,
      deployments: azure?.deployments,
    },
  )
}

/** A bare resource address gets the path of its API: one with deployments where a version is set, else `/openai/v1`. Paths given are kept. */
function toAzureAddress(baseUrl: string, apiVersion: string | undefined) {
  const { origin, pathname } = new URL(baseUrl)
  const path = pathname.replace(/\/+$/, '')
  if (path !== '' && path !== '/openai') return { baseUrl, deployments: false }
  return apiVersion ? { baseUrl: `${origin}/openai`, deployments: true } : { baseUrl: `${origin}/openai/v1`, deployments: false }
}
