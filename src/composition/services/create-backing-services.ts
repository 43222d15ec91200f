import type { PolyphonyConfig } from '../../config/config.ts'
import type { ProviderSettings } from '../../config/provider-settings.ts'
import { type ServiceAccount, toServiceAccount } from '../../config/services/service-account.ts'
import type { ServiceDefinition } from '../../domain/services/service-schema.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { CallPrice } from '../../providers/models/prices.ts'
import type { ProviderRegistry } from '../../providers/service-provider.ts'
import type { ProviderCalls, ServiceStanding } from '../../services/provider-calls.ts'
import { FREE, RESERVED_IDS } from '../operations/create-accounts.ts'

export interface BackingServicesDeps {
  readonly config: Pick<PolyphonyConfig, 'prices'>
  readonly registry: Pick<ProviderRegistry, 'add' | 'remove'>
  /** The calls to services, which are built at their first use. */
  readonly calls: () => ProviderCalls
}

/** The services that stand behind a provider, and what the layers of calls ask about them. */
export interface BackingServices {
  /** Makes a provider of a service. Throws SERVICE_INVALID, and SERVICE_EXISTS if a provider has its id. */
  add(service: ServiceDefinition): void
  remove(id: string): void
  /** Ids of the services that answer steps. */
  has(id: string): boolean
  isInHouse(id: string): boolean
  /** `undefined` for other providers, and for models whose price is not stated. */
  priceOf(id: string, model: string): CallPrice | undefined
  ratesOf(id: string): Partial<Pick<ProviderSettings, 'maxConcurrency' | 'requestsPerMinute'>> | undefined
  /** `undefined` for other providers, and for services that run. */
  hindranceOf(id: string): ReturnType<ProviderCalls['hindrance']>
  /** `undefined` for other providers. */
  standing(id: string): ServiceStanding | undefined
}

export function createBackingServices({ config, registry, calls }: BackingServicesDeps): BackingServices {
  const accounts = new Map<string, ServiceAccount>()
  return {
    add(service) {
      const { id } = service
      const account = toServiceAccount(service)
      if (!account) return
      if (RESERVED_IDS.includes(id)) {
        const message = `expected another id than "${id}" for a service that answers steps: Polyphony reserves it`
        throw new OrchestratorError('SERVICE_INVALID', message, { details: { service: id } })
      }
      registry.add(id, { account, calls: { enter: (...given) => calls().enter(...given) } })
      accounts.set(id, account)
    },
    remove(id) {
      if (accounts.delete(id)) registry.remove(id)
    },
    has: (id) => accounts.has(id),
    isInHouse: (id) => accounts.get(id)?.inHouse ?? false,
    priceOf(id, model) {
      const account = accounts.get(id)
      if (!account || Object.hasOwn(config.prices, `${id}/${model}`)) return undefined
      const stated = account.kind === 'http' ? account.operations[model]?.price : undefined
      if (stated !== undefined) return { costUsd: stated, source: 'configured' }
      return account.price === 'free' || account.inHouse ? FREE : undefined
    },
    ratesOf: (id) => accounts.get(id),
    hindranceOf: (id) => (accounts.has(id) ? calls().hindrance(id) : undefined),
    standing: (id) => (accounts.has(id) ? calls().standing(id) : undefined),
  }
}
