import type { FastifyBaseLogger } from 'fastify'
import { loadConfig, type PolyphonyConfig, type PolyphonyConfigInput } from '../config/config.ts'
import { readVersion } from '../config/version.ts'
import { createPolyphony, type Polyphony } from '../polyphony.ts'
import { createServerLogger, toLogger } from '../telemetry/logs.ts'
import { createHttpServer } from './server.ts'
import type { ServerDeps } from './server-deps.ts'

/** A logger with the interface of pino. */
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
  /** Milliseconds between two rechecks whether connected clients may still read their flows. Default: 250. */
  readonly lookEveryMs?: number
}

/** The server: HTTP, WebSocket, OpenAI-compatible API and MCP. */
export interface PolyphonyServer {
  /**
   * Resolves with the URL of the server. Rejects with CONFIG_INVALID when other machines could reach it although there
   * are no keys, and when the address is not available.
   */
  listen(): Promise<string>
  /**
   * Takes no new work, ends streams and sockets so that clients reconnect to another process, waits up to
   * `server.closeTimeoutMs` for requests that are being answered, and resolves when no client is connected. Flows
   * continue.
   */
  close(): Promise<void>
}

/**
 * Builds the server for an open Polyphony, which it does not close. Its type refers to no type of Fastify, which is
 * bundled, so that users do not have its types.
 */
export const createServer: (deps: ServerDeps, options?: ServerOptions) => Promise<PolyphonyServer> = createHttpServer

/** A server with a Polyphony of its own. */
export interface StartedServer {
  /** URL of the server. */
  readonly url: string
  readonly config: PolyphonyConfig
  /** True when there are no keys: every client on this machine is the local user. */
  readonly isOpen: boolean
  /**
   * Takes no new work, waits up to `server.closeTimeoutMs` for running flows, leaves the others to other processes or
   * the next start, and releases all resources.
   */
  close(): Promise<void>
}

export interface StartServerOptions {
  /** Registers definitions with functions, before the server listens and resumes flows. */
  readonly register?: (polyphony: Polyphony) => void | Promise<void>
}

/**
 * Starts the server as `polyphony serve` does: reads the configuration, opens the database, listens and resumes
 * interrupted flows. `flags` take precedence over environment and file. Rejects with CONFIG_INVALID, and with
 * DATABASE_SCHEMA_MISMATCH when the schema of a Postgres database is behind.
 */
export async function startServer(flags: PolyphonyConfigInput = {}, options: StartServerOptions = {}): Promise<StartedServer> {
  const configured = await loadConfig({}, { flags })
  // Default to `info` so that requests are logged; configuration may lower it.
  const logLevel = configured.sources.has('logLevel') ? configured.logLevel : 'info'
  const logger = createServerLogger({ level: logLevel, destination: process.stderr })
  const polyphony = await createPolyphony({ logger: toLogger(logger), logLevel }, { flags, defaultMigrations: 'check' })
  try {
    await options.register?.(polyphony)
    return await serve(polyphony, logger)
  } catch (error) {
    await polyphony.close()
    throw error
  }
}

async function serve(polyphony: Polyphony, logger: FastifyBaseLogger): Promise<StartedServer> {
  const { config, apiKeys } = polyphony
  const server = await createHttpServer(polyphony, { logger, version: readVersion() })
  const start = async () => {
    const url = await server.listen()
    if (config.server.resumeInterrupted) await polyphony.resumeInterrupted()
    polyphony.startBackgroundWork()
    return { url, isOpen: config.server.jwt === undefined && !(await apiKeys.exist()) }
  }
  const { url, isOpen } = await start().catch(async (error: unknown) => {
    await server.close()
    throw error
  })
  logger.info({ url, isOpen }, 'the server is listening')
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
