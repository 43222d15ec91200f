import { asJson, asNothing, type CallOptions, type Transport } from './http/transport.ts'
import type {
  Instantiated,
  Me,
  NewSharingPolicy,
  Provider,
  ProviderHealth,
  Providers,
  SharingPolicies,
  SharingPolicy,
  Template,
  Templates,
  UsageQuery,
  UsageReport,
} from './wire.ts'

/** What the caller allows each provider to see. */
export const createDataSharing = ({ send }: Transport) => ({
  list: (options?: CallOptions) => send({ method: 'GET', path: ['data-sharing'] }, options, asJson<SharingPolicies>),
  /** Where nothing was set all rules are false. */
  get: (providerKey: string, options?: CallOptions) =>
    send({ method: 'GET', path: ['data-sharing', providerKey] }, options, asJson<SharingPolicy>),
  /** Rules that are not named are false from now on. */
  set: (providerKey: string, rules: NewSharingPolicy, options?: CallOptions) =>
    send({ method: 'PUT', path: ['data-sharing', providerKey], body: rules }, options, asJson<SharingPolicy>),
  delete: (providerKey: string, options?: CallOptions) =>
    send({ method: 'DELETE', path: ['data-sharing', providerKey] }, options, asNothing),
})

export const createTemplates = ({ send }: Transport) => ({
  list: (options?: CallOptions) => send({ method: 'GET', path: ['templates'] }, options, asJson<Templates>),
  get: (name: string, options?: CallOptions) => send({ method: 'GET', path: ['templates', name] }, options, asJson<Template>),
  /** Makes a definition; nothing is stored. */
  instantiate: (name: string, parameters: Readonly<Record<string, unknown>> = {}, options?: CallOptions) =>
    send({ method: 'POST', path: ['templates', name, 'instantiate'], body: { parameters } }, options, asJson<Instantiated>),
})

/** What is configured, never a key. */
export const createProviders = ({ send }: Transport) => ({
  list: (options?: CallOptions) => send({ method: 'GET', path: ['providers'] }, options, asJson<Providers>),
  get: (providerId: string, options?: CallOptions) =>
    send({ method: 'GET', path: ['providers', providerId] }, options, asJson<Provider>),
  health: (providerId: string, options?: CallOptions) =>
    send({ method: 'GET', path: ['providers', providerId, 'health'] }, options, asJson<ProviderHealth>),
})

export const createUsage = ({ send }: Transport) => ({
  /** Tokens and cost of the caller's flows; what has no price and what was simulated stand apart. */
  get: (query: UsageQuery = {}, options?: CallOptions) =>
    send({ method: 'GET', path: ['usage'], query }, options, asJson<UsageReport>),
})

export const createMe = ({ send }: Transport) => ({
  /** Who the server takes the caller for. */
  get: (options?: CallOptions) => send({ method: 'GET', path: ['me'] }, options, asJson<Me>),
})
