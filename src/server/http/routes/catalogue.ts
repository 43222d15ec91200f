import { listFlowTemplates } from '../../../../templates/index.ts'
import {
  instantiated,
  me,
  provider,
  providerHealth,
  providers as providerList,
  providerParams,
  template,
  templateArguments,
  templateParams,
  templates,
} from '../../../protocol/catalogue.ts'
import { getTemplateFacts, toDefinition } from '../../requests/definition-source.ts'
import { callerOf, type Routes } from '../../requests/routes.ts'
import type { ServerDeps } from '../../server-deps.ts'
import { createProviderHealth } from '../provider-health.ts'

/** Templates, providers and the authenticated caller. */
export const catalogueRoutes =
  ({ providers }: ServerDeps): Routes =>
  async (app) => {
    const healthOf = createProviderHealth(providers)

    app.get(
      '/me',
      {
        schema: { operationId: 'getMe', tags: ['caller'], summary: 'Read the authenticated caller', response: { 200: me } },
        config: { scope: 'read' },
      },
      async (request) => {
        const { userId, scopes, via } = callerOf(request)
        return { userId, scopes, via }
      },
    )

    app.get(
      '/templates',
      {
        schema: {
          operationId: 'listTemplates',
          tags: ['templates'],
          summary: 'List the templates',
          response: { 200: templates },
        },
        config: { scope: 'read' },
      },
      async () => ({ items: listFlowTemplates() }),
    )

    app.get(
      '/templates/:name',
      {
        schema: {
          operationId: 'getTemplate',
          tags: ['templates'],
          summary: 'Describe a template with its parameters',
          params: templateParams,
          response: { 200: template },
        },
        config: { scope: 'read' },
      },
      async (request) => getTemplateFacts(request.params.name),
    )

    app.post(
      '/templates/:name/instantiate',
      {
        schema: {
          operationId: 'instantiateTemplate',
          tags: ['templates'],
          summary: 'Build a definition from a template; nothing is stored',
          params: templateParams,
          body: templateArguments,
          response: { 200: instantiated },
        },
        config: { scope: 'read' },
      },
      async (request) => ({
        definition: { ...toDefinition({ template: request.params.name, parameters: request.body.parameters }) },
      }),
    )

    app.get(
      '/providers',
      {
        schema: {
          operationId: 'listProviders',
          tags: ['providers'],
          summary: 'List the configured providers',
          response: { 200: providerList },
        },
        config: { scope: 'read' },
      },
      async () => ({ items: providers.list() }),
    )

    app.get(
      '/providers/:providerId',
      {
        schema: {
          operationId: 'getProvider',
          tags: ['providers'],
          summary: 'Describe a provider',
          params: providerParams,
          response: { 200: provider },
        },
        config: { scope: 'read' },
      },
      async (request) => healthOf.describe(request.params.providerId),
    )

    app.get(
      '/providers/:providerId/health',
      {
        schema: {
          operationId: 'getProviderHealth',
          tags: ['providers'],
          summary: 'Check whether a provider responds; the result is cached for 15 seconds',
          params: providerParams,
          response: { 200: providerHealth },
        },
        config: { scope: 'read' },
      },
      (request) => healthOf.check(request.params.providerId),
    )
  }
