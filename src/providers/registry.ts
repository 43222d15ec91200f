import { PROVIDER_KINDS, type ProviderKind } from '../config/provider-settings.ts'
import { findSuggestion, withSuggestion } from '../domain/definition/suggestion.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { PRESET_TABLE } from './presets.ts'
import type { ProviderInfo } from './provider.ts'
import {
  type Adapter,
  type ConfiguredProvider,
  findPreset,
  type ProviderEntry,
  type SimulatedEndpoint,
  toBackedEntry,
  toProviderEntry,
} from './provider-entries.ts'
import { type ProviderRegistry, takenId } from './service-provider.ts'

export interface ProviderServiceOptions {
  /** By provider id: settings of an account, or a provider object. */
  readonly providers: Readonly<Record<string, ConfiguredProvider>>
  /**
   * If present, the simulator stands in for every provider built from settings, and those are marked as simulated.
   * Called at first use of each.
   */
  readonly simulator?: (kind: ProviderKind) => Promise<SimulatedEndpoint>
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

/**
 * Builds the providers of one Polyphony instance. Settings are read once, so that no flow or request can change where a
 * key is sent. Throws CONFIG_INVALID for an entry without `kind` or `preset` whose id names neither.
 */
export function createProviderService({ providers, simulator }: ProviderServiceOptions): ProviderRegistry {
  const options = { adapters: ADAPTERS, ...(simulator && { simulator }) }
  const entries = new Map(Object.entries(providers).map(([id, settings]) => [id, toProviderEntry(id, settings, options)]))

  function getEntry(id: string): ProviderEntry {
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

  function getUsable(id: string): ProviderEntry {
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
      entries.set(id, toBackedEntry(id, service, ADAPTERS))
    },
    remove(id) {
      const entry = entries.get(id)
      entries.delete(id)
      void entry?.loading?.then((provider) => provider.close?.()).catch(() => undefined)
    },
    async close() {
      const closed = [...entries.values()].map(async ({ loading }) => (await loading?.catch(() => undefined))?.close?.())
      // One that fails to close must not keep the processes and connections of the others.
      for (const one of await Promise.allSettled(closed)) if (one.status === 'rejected') throw one.reason
    },
  }
}

/** Origin of a vendor's API; undefined if every account has its own. */
export function homeOriginOf(vendor: string): string | undefined {
  const kind = PROVIDER_KINDS.find((name) => name === vendor) ?? 'openai-compatible'
  const { baseUrl } = ADAPTERS[kind].defaultEndpoint(findPreset(vendor))
  return baseUrl === undefined ? undefined : new URL(baseUrl).origin
}
