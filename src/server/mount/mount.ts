import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Server as SecureServer } from 'node:https'
import { readVersion } from '../../config/version.ts'
import { type Scope, USER_SCOPES } from '../../domain/users/api-key.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { id } from '../../protocol/instant.ts'
import { assertNotExposed } from '../access/exposure.ts'
import { createErrorAnswers } from '../errors/error-format.ts'
import { wantsWebSocket } from '../raw/ignore-upgrade.ts'
import { createServerApp } from '../server-app.ts'
import type { ServerDeps } from '../server-deps.ts'
import type { ServerLogger } from '../server-logger.ts'
import { isLocalClient } from './local-clients.ts'
import { createPrefix, publicPathOf } from './prefix.ts'
import { takeUpgrades } from './take-upgrades.ts'
import { createWebFetch, type FetchOptions } from './web-fetch.ts'

export type { FetchOptions } from './web-fetch.ts'

/** A user whom the app around a mounted server has authenticated. */
export interface AppUser {
  readonly userId: string
  /** What the user may do; default: `read`, `write`, `execute` and `share`. */
  readonly scopes?: readonly Scope[]
  /** When the streams and sockets of the user end, for example with the session. Default: never. */
  readonly expiresAt?: Date
}

/**
 * How a mounted server finds the user of a request.
 *
 * - `keys`: every request needs an API key or a token of `server.jwt`.
 * - `local`: as `keys`, but as long as there are neither keys nor `server.jwt`, clients on this machine that no proxy
 *   forwards are the local user, as with `polyphony serve`. Only for an app that other machines do not reach: a proxy
 *   that adds no header looks like a client on this machine.
 * - a function: the app decides, by its session for example, also for upgrade requests. Where it returns undefined the
 *   request needs a key or token.
 */
export type MountAuth = 'keys' | 'local' | ((request: IncomingMessage) => AppUser | undefined | Promise<AppUser | undefined>)

export interface MountOptions {
  /** Whole path under which clients reach the server, `/` for the root. Default: `/polyphony`. */
  readonly prefix?: string
  /** Default: `keys`. */
  readonly auth?: MountAuth
  /** Default: nothing is logged. */
  readonly logger?: ServerLogger
  /** Shown in /health and /openapi.json. */
  readonly version?: string
  /** Milliseconds between two rechecks whether connected clients may still read their flows. Default: 250. */
  readonly lookEveryMs?: number
}

export interface MountCloseOptions {
  /** Whether to close the Polyphony as well, as `polyphony serve` does at its end. Default: false. */
  readonly polyphony?: boolean
}

/** An open Polyphony. */
export interface MountDeps extends ServerDeps {
  close(options?: { readonly handOver?: boolean; readonly graceMs?: number }): Promise<void>
}

/** The server inside an app that listens itself. */
export interface MountedPolyphony {
  /**
   * Answers requests under the prefix: a middleware of Express and of Nest on Express, and a listener of `http.Server`.
   * Other requests go to `next`; without it they are answered 404.
   */
  handler(request: IncomingMessage, response: ServerResponse, next?: (error?: unknown) => void): void
  /** Answers web-standard requests, for Hono, route handlers of Next and the like. */
  fetch(request: Request, options?: FetchOptions): Promise<Response>
  /**
   * Opens WebSockets under the prefix on a server of the app. Its other upgrade requests go where they went before.
   * Returns the function that stops this; `close` calls it too.
   */
  attach(server: Server | SecureServer): () => void
  /**
   * Takes no new work, ends streams and sockets so that clients reconnect to another process, and waits up to
   * `server.closeTimeoutMs` for requests that are being answered. Flows continue. Close the server of the app after it.
   */
  close(options?: MountCloseOptions): Promise<void>
}

/**
 * Builds the server for an open Polyphony without an address of its own. Rejects with CONFIG_INVALID where settings say
 * that other machines reach the server although nothing authenticates them, with INPUT_INVALID for an invalid
 * prefix.
 */
export async function mountPolyphony(deps: MountDeps, options: MountOptions = {}): Promise<MountedPolyphony> {
  const settings = deps.config.server
  const { auth = 'keys', prefix: given, ...appOptions } = options
  const prefix = createPrefix(given)
  const basePath = publicPathOf(prefix, settings.publicUrl)
  if (auth === 'local' && !settings.jwt && !(await deps.apiKeys.exist())) assertNotExposed(settings)

  const { app, sockets, close } = await createServerApp(deps, {
    version: readVersion(),
    ...appOptions,
    basePath,
    access: toAccess(auth),
  })
  await app.ready()
  const web = createWebFetch(app.server)
  const detachments = new Set<() => void>()
  const toErrorAnswer = createErrorAnswers([], '')
  const refuse = (instance: string) => {
    const { status, headers, body } = toErrorAnswer(notUnder(prefix.path), { instance: instance.slice(0, 500) })
    return { status, headers, text: JSON.stringify(body) }
  }
  let closing: Promise<void> | undefined

  async function closeAll(): Promise<void> {
    const attached = [...detachments]
    await close()
    for (const detach of attached) detach()
    web.close()
  }

  return {
    handler(request, response, next) {
      const whole = wholeTarget(request)
      const target = prefix.strip(whole)
      if (target === undefined) {
        // Middleware under a path of its own never sees requests of others: the prefix is another one then.
        if (next && !isBelowPath(request)) return next()
        const { status, headers, text } = refuse(whole.split('?', 1)[0] ?? '/')
        response.writeHead(status, headers).end(text)
        return
      }
      giveBackWhenAnswered(request, response, settings.sockets)
      request.url = target
      app.routing(request, response)
    },
    async fetch(request, fetchOptions = {}) {
      const { pathname, search } = new URL(request.url)
      const target = prefix.strip(pathname + search)
      if (target !== undefined) return web.fetch(request, target, fetchOptions)
      const { status, headers, text } = refuse(pathname)
      return new Response(text, { status, headers })
    },
    attach(server) {
      const stop = takeUpgrades(server, {
        isOurs: (request) => wantsWebSocket(request) && prefix.strip(request.url ?? '') !== undefined,
        upgrade(request, stream, head) {
          request.url = prefix.strip(request.url ?? '') ?? '/'
          sockets.upgrade(request, stream, head)
        },
      })
      const detach = () => {
        if (detachments.delete(detach)) stop()
      }
      detachments.add(detach)
      return detach
    },
    async close({ polyphony = false } = {}) {
      closing ??= closeAll()
      await closing
      if (polyphony) await deps.close({ handOver: settings.resumeInterrupted, graceMs: settings.closeTimeoutMs })
    },
  }
}

/**
 * The connection may serve requests of the app afterwards, and its logs name the request: what the server changes for
 * its answer is restored.
 */
function giveBackWhenAnswered(
  request: IncomingMessage,
  response: ServerResponse,
  { slowAfterMs }: { readonly slowAfterMs: number },
): void {
  const { url, socket } = request
  const { timeout = 0 } = socket
  // Before the listeners of the app, which were added earlier.
  response.prependOnceListener('close', () => {
    request.url = url
    if (socket.timeout === slowAfterMs) socket.setTimeout(timeout)
  })
}

/** Express, and what is built on it, removes the path of a middleware from `url`, and keeps it in these two. */
const wholeTarget = (request: IncomingMessage): string =>
  'originalUrl' in request && typeof request.originalUrl === 'string' ? request.originalUrl : (request.url ?? '/')
const isBelowPath = (request: IncomingMessage): boolean => 'baseUrl' in request && request.baseUrl !== ''

const notUnder = (path: string): OrchestratorError =>
  new OrchestratorError(
    'ROUTE_NOT_FOUND',
    `No route: expected a path under ${path || '/'}. Give mountPolyphony the whole path under which clients reach it as \`prefix\``,
  )

function toAccess(auth: MountAuth) {
  if (auth === 'local') return { isLocal: isLocalClient }
  if (auth === 'keys') return { isLocal: () => false }
  return {
    isLocal: () => false,
    async identify(request: IncomingMessage) {
      const user = await auth(request)
      if (user === undefined) return undefined
      const { userId, scopes = USER_SCOPES, expiresAt } = user
      if (!id.safeParse(userId).success)
        throw new TypeError('auth: expected a user id of 1 to 200 characters, found another value')
      return { userId, scopes, via: 'app' as const, expiresAtMs: expiresAt?.getTime() }
    },
  }
}
