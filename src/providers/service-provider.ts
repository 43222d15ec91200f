import type { Dispatcher } from 'undici'
import type { ProviderKind } from '../config/provider-settings.ts'
import type { ServiceAccount } from '../config/services/service-account.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { ResolveName } from '../system/public-addresses.ts'
import type { AdapterSettings } from './adapter-settings.ts'
import { createProviderBehindService, type ServiceCalls } from './behind-service.ts'
import type { Provider, ProviderService } from './provider.ts'

/** A service that answers steps: how it does, and the calls to it. */
export interface BackingService {
  readonly account: ServiceAccount
  readonly calls: ServiceCalls
}

/** Providers to which services are added while the instance runs. */
export interface ProviderRegistry extends ProviderService {
  /** Throws SERVICE_EXISTS if a provider has the id. */
  add(id: string, service: BackingService): void
  remove(id: string): void
}

/** Prices are found by the vendor: a service has none but those of the configuration. */
export const SERVICE_VENDOR = 'service'

/** The operations of a service are read before it has an address. */
const NO_ADDRESS = 'http://service.invalid'

/** Loaded at the first call of a service, because it loads undici. */
async function openDispatcher(resolve: ResolveName | undefined): Promise<Dispatcher> {
  const { createServiceDispatcher, SERVICE_DISPATCHER } = await import('./transport/service-dispatcher.ts')
  return resolve ? createServiceDispatcher(resolve) : SERVICE_DISPATCHER
}

/** The provider of a service, over the adapter of its kind. `resolve`: default, the resolver of the system. */
export function createServiceProvider(
  id: string,
  { account, calls }: BackingService,
  loadModels: (kind: ProviderKind, settings: AdapterSettings) => Promise<Provider>,
  resolve?: ResolveName,
): Provider {
  const { kind, path = '', inHouse } = account
  const shared = { id, kind, vendor: SERVICE_VENDOR, inHouse, calls }
  const baseUrlOf = (endpoint: string) => `${endpoint.replace(/\/+$/, '')}${path}`
  if (account.kind !== 'http') {
    const { kind: model, models, api } = account
    const load = async (endpoint: string) =>
      loadModels(model, {
        id,
        vendor: SERVICE_VENDOR,
        simulated: false,
        baseUrl: baseUrlOf(endpoint),
        dispatcher: await openDispatcher(resolve),
        ...(api !== undefined && { api }),
      })
    return createProviderBehindService({ ...shared, ...(models && { models }), load })
  }
  const { operations } = account
  const load = async (endpoint: string): Promise<Provider> => {
    const { createHttpOperations } = await import('./http/http-operations.ts')
    const dispatcher = await openDispatcher(resolve)
    return createHttpOperations({ id, baseUrl: baseUrlOf(endpoint), operations, allowPrivateAddresses: true, dispatcher })
  }
  let known: Promise<Provider> | undefined
  return createProviderBehindService({
    ...shared,
    load,
    async operations() {
      known ??= load(NO_ADDRESS)
      return (await (await known).operations?.()) ?? []
    },
  })
}

/** The error of a service whose id another provider has. */
export const takenId = (id: string): OrchestratorError =>
  new OrchestratorError('SERVICE_EXISTS', `expected another id than "${id}", which a provider has`, {
    details: { service: id, provider: id },
  })
