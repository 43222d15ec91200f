import type { FastifyBaseLogger } from 'fastify'
import { loadConfig, type PolyphonyConfig, type PolyphonyConfigInput } from '../config/config.ts'
import { readVersion } from '../config/version.ts'
import { createPolyphony, type Polyphony } from '../polyphony.ts'
import { createServerLogger, toLogger } from '../telemetry/logs.ts'
import { createHttpServer } from './server.ts'
import type { ServerDeps } from './server-deps.ts'

/** A logger like that of pino. */
export interface ServerLogger {
  level: string
  fatal(fields: unknown, message?: string, ...values: unknown[]): void
  error(fields: unknown, message?: string, ...values: unknown[]): void
  warn(fields: unknown, message?: string, ...values: unknown[]): void
  info(fields: unknown, message?: string, ...values: unknown[]): void
  debug(fields: unknown, message?: string, ...values: unknown[]): void
  trace(fields: unknown, message?: string, ...values: unknown[]): void
  silent(fields: unknown, message?: string, ...values: unknown[]): void
  child(bindings: Record<string, unknown>): ServerLogger
}

export interface ServerOptions {
  /** Default: nothing is logged. */
  readonly logger?: ServerLogger
  /** Shown in /health and /openapi.json. */
  readonly version?: string
  /** Milliseconds between two checks whether those who follow flows still may; default 250. */
  readonly recheckIntervalMs?: number
}

/** Flows over HTTP and WebSocket, as models and as tools. */
export interface PolyphonyServer {
  /** Resolves with the address it answers at. Rejects with CONFIG_INVALID where it would be open to others without any key. */
  listen(): Promise<string>
  /**
   * Takes no new work, ends streams and sockets so that clients reconnect elsewhere, lets requests under way be answered as long as
   * `server.closeTimeoutMs` says, and resolves when nobody is connected. Flows continue.
   */
  close(): Promise<void>
}

/**
 * Builds the server over an opened Polyphony, which it does not close.
 * Its type names no type of Fastify: Fastify is inside the package, so users do not have its types.
 */
export const createServer: (deps: ServerDeps, options?: ServerOptions) => Promise<PolyphonyServer> = createHttpServer

/** A server that owns its Polyphony. */
export interface StartedServer {
  /** Address it answers at. */
  readonly url: string
  readonly config: PolyphonyConfig
  /** Nobody has a key: whoever reaches this machine is the local user. */
  readonly isOpen: boolean
  /**
   * Takes no new work, waits for running flows as long as `server.closeTimeoutMs` says, leaves the rest to other processes or the next start, and
   * releases everything.
   */
  close(): Promise<void>
}

/** What `polyphony serve` does: configuration, database, recovery, HTTP. `flags` win over environment and file. */
export async function startServer(flags: PolyphonyConfigInput = {}): Promise<StartedServer> {
  const configured = await loadConfig({}, { flags })
  // A server that says nothing of its requests helps nobody; whoever wants less says so.
  const logLevel = configured.sources.has('logLevel') ? configured.logLevel : 'info'
  const logger = createServerLogger({ level: logLevel, destination: process.stderr })
  const polyphony = await createPolyphony({ logger: toLogger(logger), logLevel }, { flags })
  try {
    return await serve(polyphony, logger)
  } catch (error) {
    await polyphony.close()
    throw error
  }
}

async function serve(polyphony: Polyphony, logger: FastifyBaseLogger): Promise<StartedServer> {
  const { config, apiKeys } = polyphony
  const server = await createHttpServer(polyphony, { logger, version: readVersion() })
  const begin = async () => {
    const url = await server.listen()
    if (config.server.resumeInterrupted) await polyphony.resumeInterrupted()
    return { url, isOpen: config.server.jwt === undefined && !(await apiKeys.exist()) }
  }
  const { url, isOpen } = await begin().catch(async (error: unknown) => {
    await server.close()
    throw error
  })
  logger.info({ url, isOpen }, 'the server answers')
  let closing: Promise<void> | undefined
  const close = async () => {
    await server.close()
    await polyphony.close({ handOver: config.server.resumeInterrupted, graceMs: config.server.closeTimeoutMs })
    logger.info('the server is closed')
  }
  return {
    url,
    config,
    isOpen,
    close: () => {
      closing ??= close()
      return closing
    },
  }
}
