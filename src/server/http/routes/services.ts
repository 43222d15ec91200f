import * as z from 'zod'
import { event } from '../../../protocol/event.ts'
import { arrayOf, queryInteger } from '../../../protocol/instant.ts'
import * as protocol from '../../../protocol/service.ts'
import type { ServiceReport } from '../../../services/service.ts'
import { API, callerOf, type Routes } from '../../requests/routes.ts'
import type { ServerDeps } from '../../server-deps.ts'
import { COMMAND_NAMES, SERVICE_COMMANDS } from '../../services/commands.ts'
import type { SendLog } from '../../services/log-answer.ts'
import { assertOwnService, refusePrograms, registerRemote } from '../../services/registration.ts'

export interface ServiceRoutesDeps {
  readonly sendLog: SendLog
  readonly version: string
}

export const tags = ['services']
export const scope = { scope: 'operate' } as const
/** A process under supervision may announce itself with the token of its run. */
export const ownScope = { scope: 'operate', ownService: true } as const
export const waitQuery = z.strictObject({ wait: queryInteger(0, 86_400_000).optional() })
export const logText = { 200: { description: 'Lines of the log', content: { 'text/plain': { schema: z.string() } } } }
export const params = protocol.serviceParams

/** Services: their states, commands and logs. Logs and environments belong to the operator, hence their own scope. */
export const serviceRoutes =
  (deps: ServerDeps, { sendLog, version }: ServiceRoutesDeps): Routes =>
  async (app) => {
    const { services, events, config } = deps

    app.get(
      '/services',
      {
        schema: {
          operationId: 'listServices',
          tags,
          summary: 'List the services with their states',
          querystring: protocol.serviceQuery,
          response: { 200: protocol.serviceList },
        },
        config: scope,
      },
      async ({ query }) => ({ items: services.list(query) }),
    )

    app.get(
      '/services/:serviceId',
      {
        schema: { operationId: 'getService', tags, summary: 'Read a service', params, response: { 200: protocol.serviceReport } },
        config: scope,
      },
      async (request) => services.get(request.params.serviceId),
    )

    app.get(
      '/services/:serviceId/events',
      {
        schema: {
          operationId: 'listServiceEvents',
          tags,
          summary: 'List the newest stored events about a service, the oldest first',
          params,
          querystring: z.strictObject({ limit: queryInteger(1, 1_000).default(100) }),
          response: { 200: z.object({ items: arrayOf(event) }) },
        },
        config: scope,
      },
      async (request) => {
        const { id } = services.get(request.params.serviceId)
        return { items: await events.newest({ subject: id, types: ['service_*'] }, request.query.limit) }
      },
    )

    app.post(
      '/services',
      {
        schema: {
          operationId: 'registerService',
          tags,
          summary: 'Register a service that another program of this machine runs; a request cannot name a program',
          body: protocol.serviceRegistration,
          response: { 200: protocol.serviceReport, 201: protocol.serviceReport },
        },
        config: ownScope,
        preValidation: refusePrograms,
      },
      async (request, reply) => {
        assertOwnService(callerOf(request), request.body.id)
        const { report, isNew } = await registerRemote(deps, callerOf(request), request.body)
        if (!isNew) return reply.code(200).send(report)
        return reply.code(201).header('location', `${API}/services/${report.id}`).send(report)
      },
    )

    app.delete(
      '/services/:serviceId',
      {
        schema: {
          operationId: 'removeService',
          tags,
          summary: 'Remove a service that is stopped, or that another program runs',
          params,
          response: { 204: z.null() },
        },
        config: scope,
      },
      async (request, reply) => {
        await services.remove(request.params.serviceId)
        return reply.code(204).send(null)
      },
    )

    app.post(
      '/services/:serviceId/heartbeat',
      {
        schema: {
          operationId: 'beatService',
          tags,
          summary: 'Report that a service is alive',
          params,
          response: { 200: protocol.serviceReport },
        },
        config: ownScope,
      },
      async (request) => {
        assertOwnService(callerOf(request), request.params.serviceId)
        return services.heartbeat(request.params.serviceId)
      },
    )

    app.post(
      '/services/reload',
      {
        schema: {
          operationId: 'reloadServices',
          tags,
          summary: 'Read the service files again; services whose files have changed are started again',
          response: { 200: protocol.serviceReload },
        },
        config: scope,
      },
      () => services.reload(),
    )

    for (const name of COMMAND_NAMES) {
      app.put(
        `/services/:serviceId/${name}`,
        {
          schema: {
            operationId: `${name}Service`,
            tags,
            summary: `${name[0]?.toUpperCase()}${name.slice(1)} a service; 200 when it is done within \`wait\`, 202 while it is under way`,
            params,
            querystring: waitQuery,
            response: { 200: protocol.serviceReport, 202: protocol.serviceReport },
          },
          config: scope,
        },
        async (request, reply) => {
          const waitMs = Math.min(request.query.wait ?? 0, config.server.maxWaitMs)
          const { report, isReached } = await SERVICE_COMMANDS[name](services, request.params.serviceId, waitMs)
          return reply.code(isReached ? 200 : 202).send(report)
        },
      )
    }

    app.get(
      '/services/:serviceId/logs',
      {
        schema: {
          operationId: 'getServiceLogs',
          tags,
          summary: 'Read the last lines of a log, and with `follow` all further ones: as text, or as server-sent events',
          params,
          querystring: protocol.logQuery,
          response: logText,
        },
        config: scope,
      },
      (request, reply) => sendLog(request, reply, { ...request.params, ...request.query }),
    )

    app.get(
      '/pools',
      {
        schema: {
          operationId: 'listPools',
          tags,
          summary: 'List the pools with their members',
          response: { 200: protocol.poolList },
        },
        config: scope,
      },
      async () => ({
        items: Object.entries(config.pools).map(([name, { strategy, members }]) => ({ name, strategy, members })),
      }),
    )

    app.get(
      '/system',
      {
        schema: {
          operationId: 'getSystem',
          tags,
          summary: 'Read facts of the server process and the number of services in each state',
          response: { 200: protocol.systemReport },
        },
        config: scope,
      },
      async () => ({
        version,
        pid: process.pid,
        uptimeSeconds: Math.round(process.uptime()),
        memoryBytes: process.memoryUsage.rss(),
        services: countStates(services.list()),
      }),
    )
  }

function countStates(reports: readonly ServiceReport[]) {
  const byState: { [State in ServiceReport['state']]?: number } = {}
  for (const { state } of reports) byState[state] = (byState[state] ?? 0) + 1
  return { total: reports.length, byState }
}
