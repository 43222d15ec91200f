import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { assertNotExposed } from './access/exposure.ts'
import { toListenError, toUrl } from './listen-error.ts'
import { ignoreUpgrade, wantsWebSocket } from './raw/ignore-upgrade.ts'
import { createServerApp, type HttpServerOptions } from './server-app.ts'
import type { ServerDeps } from './server-deps.ts'

export type { HttpServerOptions } from './server-app.ts'

/** The server: HTTP, WebSocket, OpenAI-compatible API and MCP. */
export interface HttpServer {
  /** The Fastify app, for tests and for backends that add routes. */
  readonly app: FastifyInstance
  /**
   * Resolves with the URL of the server. Rejects with CONFIG_INVALID when other machines could reach it although there
   * are no keys, and when the address is not available.
   */
  listen(): Promise<string>
  /**
   * Once the server listens: its address on this machine, also where `server.publicUrl` is set. For programs whose
   * tokens must not pass through the network.
   */
  localUrl(): string
  /**
   * Takes no new work, ends streams and sockets so that clients reconnect to another process, waits up to
   * `server.closeTimeoutMs` for requests that are being answered, and resolves when no client is connected. Flows
   * continue.
   */
  close(): Promise<void>
}

/** Builds the server for an open Polyphony, which it does not close. */
export async function createHttpServer(deps: ServerDeps, options: HttpServerOptions = {}): Promise<HttpServer> {
  const settings = deps.config.server
  const { app, sockets, close } = await createServerApp(deps, options)
  const { server } = app
  server.on('upgrade', (request, stream, head) => {
    if (wantsWebSocket(request)) sockets.upgrade(request, stream, head)
    else ignoreUpgrade(server, request, stream, head)
  })

  return {
    app,
    async listen() {
      if (!settings.jwt && !settings.apiKey && !(await deps.apiKeys.exist())) assertNotExposed(settings)
      await app.listen({ host: settings.host, port: settings.port }).catch((error: unknown) => {
        throw toListenError(error, {
          host: { key: 'server.host', value: settings.host },
          port: { key: 'server.port', value: settings.port },
        })
      })
      return settings.publicUrl ?? toUrl(settings.host, portOf(app))
    },
    localUrl: () => toUrl(LOOPBACK_OF[settings.host] ?? settings.host, portOf(app)),
    close,
  }
}

/** A server that listens everywhere is reached over loopback. */
const LOOPBACK_OF: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' }

function portOf(app: FastifyInstance): number | string {
  const address: AddressInfo | string | null = app.server.address()
  return typeof address === 'object' && address !== null ? address.port : ''
}
