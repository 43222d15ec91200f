import * as z from 'zod'
import * as protocol from '../../../protocol/service.ts'
import type { ServiceReport } from '../../../services/service.ts'
import { callerOf, type Routes } from '../../requests/routes.ts'
import type { ServerDeps } from '../../server-deps.ts'
import { COMMAND_NAMES, SERVICE_COMMANDS } from '../../services/commands.ts'
import { assertOwnService, fromSeed, refusePrograms, registerRemote } from '../../services/registration.ts'
import { logText, ownScope, params, type ServiceRoutesDeps, scope, tags, waitQuery } from './services.ts'

/** Milliseconds that a command waits for clients that know no `wait`. */
const ALIAS_WAIT_MS = 10_000

/** The same under /api/services for clients of a supervisor of agent services: arrays, and names in snake case. */
export const serviceAliases =
  (deps: ServerDeps, { sendLog }: ServiceRoutesDeps): Routes =>
  async (app) => {
    const { services, config } = deps

    app.get(
      '/api/services',
      {
        schema: {
          operationId: 'listServicesArray',
          tags,
          summary: 'List the services as an array',
          response: { 200: z.array(protocol.seedReport) },
        },
        config: scope,
      },
      async () => services.list().map(toSeedReport),
    )

    app.get(
      '/api/services/:serviceId',
      {
        schema: {
          operationId: 'getServiceDetails',
          tags,
          summary: 'Read a service',
          params,
          response: { 200: protocol.seedReport },
        },
        config: scope,
      },
      async (request) => toSeedReport(services.get(request.params.serviceId)),
    )

    app.post(
      '/api/services',
      {
        schema: {
          operationId: 'registerServiceDetails',
          tags,
          summary: 'Register a service that another program of this machine runs, in the names of service files',
          body: protocol.seedRegistration,
          response: { 200: protocol.seedReport, 201: protocol.seedReport },
        },
        config: ownScope,
        preValidation: refusePrograms,
      },
      async (request, reply) => {
        assertOwnService(callerOf(request), request.body.id)
        const { report, isNew } = await registerRemote(deps, callerOf(request), fromSeed(request.body))
        return reply.code(isNew ? 201 : 200).send(toSeedReport(report))
      },
    )

    for (const name of COMMAND_NAMES) {
      app.put(
        `/api/services/:serviceId/${name}`,
        {
          schema: {
            operationId: `${name}ServiceByName`,
            tags,
            summary: `${name[0]?.toUpperCase()}${name.slice(1)} a service; 202 if that takes longer than \`wait\` or 10 seconds`,
            params,
            querystring: waitQuery,
            response: { 200: protocol.seedReport, 202: protocol.seedReport },
          },
          config: scope,
        },
        async (request, reply) => {
          const waitMs = Math.min(request.query.wait ?? ALIAS_WAIT_MS, config.server.maxWaitMs)
          const { report, isReached } = await SERVICE_COMMANDS[name](services, request.params.serviceId, waitMs)
          return reply.code(isReached ? 200 : 202).send(toSeedReport(report))
        },
      )
    }

    app.get(
      '/api/services/:serviceId/logs',
      {
        schema: {
          operationId: 'getServiceLogText',
          tags,
          summary: 'Read the last lines of a log',
          params,
          querystring: protocol.logQuery,
          response: logText,
        },
        config: scope,
      },
      (request, reply) => sendLog(request, reply, { ...request.params, ...request.query }),
    )
  }

const toSeedReport = (report: ServiceReport) => ({
  ...report,
  type: report.type === 'agent' ? ('ai-agent' as const) : report.type,
  status: report.state,
  api_endpoint: report.endpoint,
})
