import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { AdapterSettings } from './adapter-settings.ts'
import { UNKNOWN_DIALECT } from './openai/dialect.ts'
import { createOpenAiProvider } from './openai/openai.ts'
import { PRESET_TABLE } from './presets.ts'
import type { Provider } from './provider.ts'

/**
 * A provider for Chat Completions, at a preset or at any `baseUrl`. Rejects with CONFIG_INVALID if neither has an
 * address.
 */
export async function createOpenAiCompatibleProvider(settings: AdapterSettings): Promise<Provider> {
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

/**
 * Adds the API path to the bare address of an Azure resource: with deployments if a version is set, else `/openai/v1`.
 * Other paths are kept.
 */
function toAzureAddress(baseUrl: string, apiVersion: string | undefined) {
  const { origin, pathname } = new URL(baseUrl)
  const path = pathname.replace(/\/+$/, '')
  if (path !== '' && path !== '/openai') return { baseUrl, deployments: false }
  return apiVersion ? { baseUrl: `${origin}/openai`, deployments: true } : { baseUrl: `${origin}/openai/v1`, deployments: false }
}
