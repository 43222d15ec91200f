import type { HttpProviderSettings, McpServerSettings } from '../config/operations/operation-settings.ts'
import {
  PRESETS,
  PROVIDER_KINDS,
  type ProviderKind,
  type ProviderSettings,
  type ProviderSettingsInput,
} from '../config/provider-settings.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { createKeyedProvider } from './account-keys.ts'
import type { AdapterSettings } from './adapter-settings.ts'
import type { PresetName } from './presets.ts'
import type { Provider } from './provider.ts'
import { type BackingService, createServiceProvider, SERVICE_VENDOR } from './service-provider.ts'

/** Address of the simulator for one kind of adapter. */
export interface SimulatedEndpoint {
  readonly baseUrl: string
  readonly apiKey: string
  readonly api?: 'responses' | 'chat'
}

/** Settings of an account or of a server with operations, or a provider object. */
export type ConfiguredProvider =
  | ProviderSettings
  | ProviderSettingsInput
  | HttpProviderSettings
  | (McpServerSettings & { readonly kind: 'mcp' })
  | Provider

/** One kind of adapter in the table of the registry. */
export interface Adapter {
  /** The vendor's address, to which the key is sent unless `baseUrl` is set. Undefined if every account has its own. */
  readonly defaultEndpoint: (preset: PresetName | undefined) => { readonly baseUrl?: string; readonly needsKey: boolean }
  readonly load: (settings: AdapterSettings) => Promise<Provider>
}

type Adapters = Readonly<Record<ProviderKind, Adapter>>

interface EntryOptions {
  readonly adapters: Adapters
  /** Stands in for accounts of vendors. */
  readonly simulator?: (kind: ProviderKind) => Promise<SimulatedEndpoint>
}

/** A configured provider, which is loaded at its first use. */
export interface ProviderEntry {
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

/** The simulator runs on this machine: it needs no proxy, and a headers function must not fetch tokens for it. */
const WITHOUT_TRANSPORT = { fetch: undefined, proxy: undefined, headers: undefined }

const NO_OPERATIONS = Promise.resolve([])

function isProvider(entry: ConfiguredProvider): entry is Provider {
  return 'generate' in entry && typeof entry.generate === 'function'
}

/** Throws CONFIG_INVALID for settings without `kind` or `preset` whose id names neither. */
export function toProviderEntry(id: string, settings: ConfiguredProvider, options: EntryOptions): ProviderEntry {
  if (isProvider(settings)) return toReadyEntry(id, settings)
  if ('operations' in settings) return toHttpEntry(id, settings)
  return isMcpServer(settings) ? toMcpEntry(id, settings) : toAccountEntry(id, settings, options)
}

/** Operations of the operator are called for real beside a simulator, which stands in for vendors only. */
function toHttpEntry(id: string, { active, ...settings }: HttpProviderSettings): ProviderEntry {
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
export const toBackedEntry = (id: string, service: BackingService, adapters: Adapters): ProviderEntry => ({
  kind: service.account.kind,
  vendor: SERVICE_VENDOR,
  origin: 'service',
  simulated: false,
  service: true,
  inHouse: service.account.inHouse,
  active: true,
  load: async () => createServiceProvider(id, service, (kind, settings) => adapters[kind].load(settings)),
})

const isMcpServer = (settings: ConfiguredProvider): settings is Extract<ConfiguredProvider, { readonly kind: 'mcp' }> =>
  'kind' in settings && settings.kind === 'mcp'

function toMcpEntry(id: string, settings: McpServerSettings): ProviderEntry {
  return {
    kind: 'mcp',
    vendor: 'mcp',
    origin: 'url' in settings ? new URL(settings.url).origin : 'process',
    simulated: false,
    active: settings.active,
    load: async () => (await import('./mcp/mcp-provider.ts')).createMcpProvider(id, settings),
  }
}

function toReadyEntry(id: string, provider: Provider): ProviderEntry {
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

function toAccountEntry(id: string, input: ProviderSettingsInput, { adapters, simulator }: EntryOptions): ProviderEntry {
  const { kind: givenKind, active = true, apiKeys, ...given } = input
  const [firstKey = given.apiKey, ...furtherKeys] = apiKeys ?? []
  const settings = { ...given, apiKey: firstKey }
  const kind = givenKind ?? defaultKind(id, settings.preset)
  const preset = kind === 'openai-compatible' ? (settings.preset ?? findPreset(id)) : undefined
  const adapter = adapters[kind]
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

export const findPreset = (name: string): PresetName | undefined => PRESETS.find((preset) => preset === name)
