import { createModels, type SharedRatesOptions } from '../create-models.ts'
import type { LoadedConfig } from '../operations/load-functions.ts'
import { createLazyServices, type ServicesDeps } from './create-services.ts'

type AnsweringOptions = Omit<SharedRatesOptions, 'serviceCalls'> & Pick<ServicesDeps, 'publish' | 'warn' | 'shared'>

/** Everything that answers steps: the providers, and the services, some of which stand behind a provider. */
export function createAnswering(config: LoadedConfig, { publish, shared, ...options }: AnsweringOptions) {
  const models = createModels(config, { ...options, serviceCalls: () => services.get().providerCalls })
  const services = createLazyServices({
    config,
    publish,
    warn: options.warn,
    backing: models.backing,
    ...(shared && { shared }),
    enterRates: models.enterRates,
  })
  return {
    models,
    services,
    /** What telemetry reads of them. Services are registered later as well. */
    observed: { providers: models.providers.list(), isService: models.backing.has, services: services.figures },
    /**
     * Registers the services of files that answer steps, once their events can be stored. Rejects with CONFIG_INVALID
     * for a pool whose member is neither a provider nor a service.
     */
    async loadServices() {
      await services.loadProviders()
      models.assertPools()
    },
  }
}
