import type { HttpProviderSettings, McpServerSettings } from '../config/operations/operation-settings.ts'
import {
  PRESETS,
  PROVIDER_KINDS,
  type ProviderKind,
  type ProviderSettings,
  type ProviderSettingsInput,
} from '../config/provider-settings.ts'
import { findSuggestion, withSuggestion } from '../domain/definition/suggestion.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { createKeyedProvider } from './account-keys.ts'
import type { AdapterSettings } from './adapter-settings.ts'
import { PRESET_TABLE, type PresetName } from './presets.ts'
import type { Provider, ProviderInfo } from './provider.ts'
import { type BackingService, createServiceProvider, type ProviderRegistry, SERVICE_VENDOR, takenId } from './service-provider.ts'

/** Address of the simulator for one kind of adapter. */
export interface SimulatedEndpoint {
  readonly baseUrl: string
  readonly apiKey: string
  readonly api?: 'responses' | 'chat'
}

export interface ProviderServiceOptions {
  /** By provider id: settings of an account, or a provider object. */
  readonly providers: Readonly<Record<string, ConfiguredProvider>>
  /**
   * If present, the simulator stands in for every provider built from settings, and those are marked as simulated.
   * Called at first use of each.
   */
  readonly simulator?: (kind: ProviderKind) => Promise<SimulatedEndpoint>
}

/** Settings of an account or of a server with operations, or a provider object. */
export type ConfiguredProvider =
  | ProviderSettings
  | ProviderSettingsInput
  | HttpProviderSettings
  | (McpServerSettings & { readonly kind: 'mcp' })
  | Provider

interface Adapter {
  /** The vendor's address, to which the key is sent unless `baseUrl` is set. Undefined if every account has its own. */
  readonly defaultEndpoint: (preset: PresetName | undefined) => { readonly baseUrl?: string; readonly needsKey: boolean }
  readonly load: (settings: AdapterSettings) => Promise<Provider>
}

const ADAPTERS: Readonly<Record<ProviderKind, Adapter>> = {
  openai: {
    defaultEndpoint: () => ({ baseUrl: 'https://api.openai.com/v1', needsKey: true }),
    load: async (settings) => (await import('./openai/openai.ts')).createOpenAiProvider(settings),
  },
  anthropic: {
    defaultEndpoint: () => ({ baseUrl: 'https://api.anthropic.com', needsKey: true }),
    load: async (settings) => (await import('./anthropic/anthropic.ts')).createAnthropicProvider(settings),
  },
  google: {
    defaultEndpoint: () => ({ baseUrl: 'https://generativelanguage.googleapis.com', needsKey: true }),
    load: async (settings) => (await import('./google/google.ts')).createGoogleProvider(settings),
  },
  'openai-compatible': {
    defaultEndpoint: (name) => {
      const preset = name && PRESET_TABLE[name]
      return { baseUrl: preset?.baseUrl, needsKey: preset?.keyVariable !== undefined }
    },
    load: async (settings) => (await import('./openai-compatible.ts')).createOpenAiCompatibleProvider(settings),
  },
}

/** The simulator runs on this machine: it needs no proxy, and a headers function must not fetch tokens for it. */
const WITHOUT_TRANSPORT = { fetch: undefined, proxy: undefined, headers: undefined }

interface Entry {
  readonly kind: string
  readonly vendor: string
  readonly origin: string
  readonly simulated: boolean
  readonly inProcess?: boolean
  readonly inHouse?: boolean
  /** Whether a service stands behind the provider. */
  readonly service?: boolean
  /** Why the configured provider cannot be used. */
  readonly missing?: string
  readonly load: () => Promise<Provider>
  active: boolean
  loading?: Promise<Provider>
}

/**
 * Builds the providers of one Polyphony instance. Settings are read once, so that no flow or request can change where a
 * key is sent. Throws CONFIG_INVALID for an entry without `kind` or `preset` whose id names neither.
 */
export function createProviderService({ providers, simulator }: ProviderServiceOptions): ProviderRegistry {
  const entries = new Map(Object.entries(providers).map(([id, settings]) => [id, toEntry(id, settings, simulator)]))

  function getEntry(id: string): Entry {
    const entry = entries.get(id)
    if (entry && !entry.missing) return entry
    const configured = [...entries].filter(([, other]) => !other.missing).map(([name]) => name)
    const suggestion = entry ? undefined : findSuggestion(id, configured)
    const reason = entry?.missing ?? `provider "${id}" is not configured`
    throw new OrchestratorError(
      'PROVIDER_NOT_CONFIGURED',
      `${withSuggestion(reason, suggestion)} (configured: ${configured.join(', ') || 'none'})`,
      { details: { provider: id, configured, ...(suggestion && { suggestion }) } },
    )
  }

  function getUsable(id: string): Entry {
    const entry = getEntry(id)
    if (entry.active) return entry
    throw new OrchestratorError('PROVIDER_INACTIVE', `provider "${id}" is configured but not active`, {
      details: { provider: id },
    })
  }

  return {
    async get(id) {
      const entry = getUsable(id)
      entry.loading ??= entry.load().catch((error: unknown) => {
        // A failed load must not stay cached: the simulator may start or the package may be installed later.
        entry.loading = undefined
        throw OrchestratorError.from(error, 'INTERNAL', { provider: id })
      })
      return entry.loading
    },
    assertUsable: (id) => void getUsable(id),
    list: () =>
      [...entries]
        .filter(([, entry]) => !entry.missing)
        .map(
          ([id, { kind, vendor, active, simulated, inProcess, inHouse, service, origin }]): ProviderInfo => ({
            id,
            kind,
            vendor,
            active,
            simulated,
            ...(inProcess && { inProcess }),
            ...(service && { service: true }),
            ...(inHouse && { inHouse: true }),
            origin,
          }),
        ),
    setActive(id, active) {
      getEntry(id).active = active
    },
    add(id, service) {
      if (entries.has(id)) throw takenId(id)
      entries.set(id, toServiceEntry(id, service))
    },
    remove(id) {
      const entry = entries.get(id)
      entries.delete(id)
      void entry?.loading?.then((provider) => provider.close?.()).catch(() => undefined)
    },
    async close() {
      const loaded = [...entries.values()].map(({ loading }) => loading)
      for (const loading of loaded) await (await loading?.catch(() => undefined))?.close?.()
    },
  }
}

const NO_OPERATIONS = Promise.resolve([])

function isProvider(entry: ConfiguredProvider): entry is Provider {
  return 'generate' in entry && typeof entry.generate === 'function'
}

function toEntry(id: string, settings: ConfiguredProvider, simulator: ProviderServiceOptions['simulator']): Entry {
  if (isProvider(settings)) return toReadyEntry(id, settings)
  if ('operations' in settings) return toHttpEntry(id, settings)
  return isMcpServer(settings) ? toMcpEntry(id, settings) : toAccountEntry(id, settings, simulator)
}

/** Operations of the operator are called for real beside a simulator, which stands in for vendors only. */
function toHttpEntry(id: string, { active, ...settings }: HttpProviderSettings): Entry {
  return {
    kind: 'http',
    vendor: 'http',
    origin: new URL(settings.baseUrl).origin,
    simulated: false,
    active,
    load: async () => (await import('./http/http-operations.ts')).createHttpOperations({ ...settings, id }),
  }
}

/** Services of the operator are called for real beside a simulator, which stands in for vendors only. */
const toServiceEntry = (id: string, service: BackingService): Entry => ({
  kind: service.account.kind,
  vendor: SERVICE_VENDOR,
  origin: 'service',
  simulated: false,
  service: true,
  inHouse: service.account.inHouse,
  active: true,
  load: async () => createServiceProvider(id, service, (kind, settings) => ADAPTERS[kind].load(settings)),
})

const isMcpServer = (settings: ConfiguredProvider): settings is Extract<ConfiguredProvider, { readonly kind: 'mcp' }> =>
  'kind' in settings && settings.kind === 'mcp'

function toMcpEntry(id: string, settings: McpServerSettings): Entry {
  return {
    kind: 'mcp',
    vendor: 'mcp',
    origin: 'url' in settings ? new URL(settings.url).origin : 'process',
    simulated: false,
    active: settings.active,
    load: async () => (await import('./mcp/mcp-provider.ts')).createMcpProvider(id, settings),
  }
}

function toReadyEntry(id: string, provider: Provider): Entry {
  const named: Provider =
    provider.id === id
      ? provider
      : {
          id,
          kind: provider.kind,
          vendor: provider.vendor,
          simulated: provider.simulated,
          ...(provider.inProcess && { inProcess: true }),
          ...(provider.inHouse && { inHouse: true }),
          generate: (request, options) => provider.generate(request, options),
          missing: () => provider.missing?.(),
          ping: async (signal) => provider.ping?.(signal),
          ...(provider.operations && { operations: (signal) => provider.operations?.(signal) ?? NO_OPERATIONS }),
          close: async () => provider.close?.(),
        }
  return {
    kind: provider.kind,
    vendor: provider.vendor,
    origin: 'in-process',
    simulated: provider.simulated,
    inProcess: provider.inProcess,
    inHouse: provider.inHouse,
    get missing() {
      return provider.missing?.()
    },
    active: true,
    load: async () => named,
  }
}

function toAccountEntry(id: string, input: ProviderSettingsInput, simulator: ProviderServiceOptions['simulator']): Entry {
  const { kind: givenKind, active = true, apiKeys, ...given } = input
  const [firstKey = given.apiKey, ...furtherKeys] = apiKeys ?? []
  const settings = { ...given, apiKey: firstKey }
  const kind = givenKind ?? defaultKind(id, settings.preset)
  const preset = kind === 'openai-compatible' ? (settings.preset ?? findPreset(id)) : undefined
  const adapter = ADAPTERS[kind]
  const defaultEndpoint = adapter.defaultEndpoint(preset)
  const account = { ...settings, preset, id, vendor: preset ?? kind }
  const baseUrl = settings.baseUrl ?? defaultEndpoint.baseUrl
  return {
    kind,
    vendor: account.vendor,
    origin: simulator ? 'simulator' : baseUrl ? new URL(baseUrl).origin : 'none',
    simulated: simulator !== undefined,
    missing: simulator ? undefined : findMissing(id, account, defaultEndpoint),
    active,
    load: async () => {
      if (simulator) return adapter.load({ ...account, ...WITHOUT_TRANSPORT, ...(await simulator(kind)), simulated: true })
      if (firstKey === undefined) return adapter.load({ ...account, simulated: false })
      return createKeyedProvider([firstKey, ...furtherKeys], (apiKey) => adapter.load({ ...account, apiKey, simulated: false }))
    },
  }
}

function findMissing(
  id: string,
  { apiKey, baseUrl }: ProviderSettingsInput,
  defaultEndpoint: ReturnType<Adapter['defaultEndpoint']>,
): string | undefined {
  if (!baseUrl && !defaultEndpoint.baseUrl) return `provider "${id}" has no baseUrl`
  // A server or proxy at a configured address may need no key.
  if (defaultEndpoint.needsKey && !apiKey && !baseUrl) return `provider "${id}" has no API key`
  return undefined
}

function defaultKind(id: string, preset: PresetName | undefined): ProviderKind {
  if (preset) return 'openai-compatible'
  const kind = PROVIDER_KINDS.find((name) => name === id)
  if (kind) return kind
  if (findPreset(id)) return 'openai-compatible'
  throw new OrchestratorError(
    'CONFIG_INVALID',
    `providers.${id}: expected \`kind\` (${PROVIDER_KINDS.join(', ')}) or \`preset\` (${PRESETS.join(', ')}), because "${id}" is the name of neither`,
    { details: { provider: id } },
  )
}

/** Origin of a vendor's API; undefined if every account has its own. */
export function homeOriginOf(vendor: string): string | undefined {
  const kind = PROVIDER_KINDS.find((name) => name === vendor) ?? 'openai-compatible'
  const { baseUrl } = ADAPTERS[kind].defaultEndpoint(findPreset(vendor))
  return baseUrl === undefined ? undefined : new URL(baseUrl).origin
}

const findPreset = (name: string): PresetName | undefined => PRESETS.find((preset) => preset === name)
