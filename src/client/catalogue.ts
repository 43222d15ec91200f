import { asJson, asNothing, type CallOptions, type Transport } from './http/transport.ts'
import type {
  BudgetReports,
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

/**
 * What the caller allows each provider to see.
 *
 * ```ts
 * await client.dataSharing.set('anthropic', { allowCrossProviderContext: true })
 * ```
 */
export const createDataSharing = ({ send }: Transport) => ({
  /** All policies of the caller. */
  list: (options?: CallOptions) => send({ method: 'GET', path: ['data-sharing'] }, options, asJson<SharingPolicies>),
  /** The policy for one provider; without a stored policy, all rules are false. */
  get: (providerKey: string, options?: CallOptions) =>
    send({ method: 'GET', path: ['data-sharing', providerKey] }, options, asJson<SharingPolicy>),
  /** Replaces the policy for one provider; rules that are not given become false. */
  set: (providerKey: string, rules: NewSharingPolicy, options?: CallOptions) =>
    send({ method: 'PUT', path: ['data-sharing', providerKey], body: rules }, options, asJson<SharingPolicy>),
  /** Deletes the policy for one provider, so that all its rules are false. */
  delete: (providerKey: string, options?: CallOptions) =>
    send({ method: 'DELETE', path: ['data-sharing', providerKey] }, options, asNothing),
})

/** Templates of the server. */
export const createTemplates = ({ send }: Transport) => ({
  /** All templates with their parameters. */
  list: (options?: CallOptions) => send({ method: 'GET', path: ['templates'] }, options, asJson<Templates>),
  /** Rejects with TEMPLATE_NOT_FOUND for an unknown name. */
  get: (name: string, options?: CallOptions) => send({ method: 'GET', path: ['templates', name] }, options, asJson<Template>),
  /** Creates a definition from a template and its parameters; nothing is stored. */
  instantiate: (name: string, parameters: Readonly<Record<string, unknown>> = {}, options?: CallOptions) =>
    send({ method: 'POST', path: ['templates', name, 'instantiate'], body: { parameters } }, options, asJson<Instantiated>),
})

/** Configured providers, without their keys. */
export const createProviders = ({ send }: Transport) => ({
  /** All configured providers. */
  list: (options?: CallOptions) => send({ method: 'GET', path: ['providers'] }, options, asJson<Providers>),
  /** One provider by its id. */
  get: (providerId: string, options?: CallOptions) =>
    send({ method: 'GET', path: ['providers', providerId] }, options, asJson<Provider>),
  /** Sends a request to the provider and resolves with its result and duration. */
  health: (providerId: string, options?: CallOptions) =>
    send({ method: 'GET', path: ['providers', providerId, 'health'] }, options, asJson<ProviderHealth>),
})

/** Usage and cost of the caller. */
export const createUsage = ({ send }: Transport) => ({
  /** Tokens and cost of the caller's flows. Unpriced and simulated usage is counted separately. */
  get: (query: UsageQuery = {}, options?: CallOptions) =>
    send({ method: 'GET', path: ['usage'], query }, options, asJson<UsageReport>),
})

/** What is left of the caller's budgets. */
export const createBudgets = ({ send }: Transport) => ({
  /** Budgets of the caller's user and API key in their current windows. */
  list: (options?: CallOptions) => send({ method: 'GET', path: ['budgets'] }, options, asJson<BudgetReports>),
})

/** The caller itself. */
export const createMe = ({ send }: Transport) => ({
  /** User and scopes that the server derives from the credentials. */
  get: (options?: CallOptions) => send({ method: 'GET', path: ['me'] }, options, asJson<Me>),
})
