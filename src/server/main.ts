import type { FastifyBaseLogger } from 'fastify'
import { loadConfig, type PolyphonyConfig, type PolyphonyConfigInput } from '../config/config.ts'
import { readVersion } from '../config/version.ts'
import { createPolyphony, type Polyphony } from '../polyphony.ts'
import { createLogFile } from '../services/logs/log-file.ts'
import { createServerLogger, toLogger } from '../telemetry/logs.ts'
import { createOperatorFiles, type OperatorFiles } from './operator-files.ts'
import { createHttpServer } from './server.ts'
import type { ServerDeps } from './server-deps.ts'
import type { ServerLogger } from './server-logger.ts'

export {
  type AppUser,
  type FetchOptions,
  type MountAuth,
  type MountCloseOptions,
  type MountDeps,
  type MountedPolyphony,
  type MountOptions,
  mountPolyphony,
} from './mount/mount.ts'
export type { ServerLogger } from './server-logger.ts'

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
  /** Reads the service files again and restarts services whose files have changed. Problems are in the log. */
  reload(): Promise<void>
  /**
   * Takes no new work, waits up to `server.closeTimeoutMs` for running flows, leaves the others to other processes or
   * the next start, and releases all resources.
   */
  close(): Promise<void>
}

export interface StartServerOptions {
  /** Registers definitions with functions, before the server listens and resumes flows. */
  readonly register?: (polyphony: Polyphony) => void | Promise<void>
  /** Whether the log is written to a file only, because no terminal shows standard error. Default: false. */
  readonly background?: boolean
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
  const files = await createOperatorFiles(configured, { isBackground: options.background ?? false })
  const destination = files ? createLogDestination(files.logFile, configured, options.background ?? false) : process.stderr
  const logger = createServerLogger({ level: logLevel, destination })
  let polyphony: Polyphony | undefined
  try {
    polyphony = await createPolyphony({ logger: toLogger(logger), logLevel }, { flags, defaultMigrations: 'check' })
    await options.register?.(polyphony)
    return await serve(polyphony, logger, files)
  } catch (error) {
    await polyphony?.close()
    await files?.remove()
    throw error
  }
}

/** Lines go to a file that is rotated, and to standard error unless the server runs in the background. */
function createLogDestination(path: string, { services }: PolyphonyConfig, isBackground: boolean): { write(line: string): void } {
  const onDropped = (bytes: number) => void process.stderr.write(`${bytes} bytes could not be written to ${path}\n`)
  const file = createLogFile({ path, ...services.logs, onDropped })
  return {
    write(line) {
      file.write(Buffer.from(line))
      if (!isBackground) process.stderr.write(line)
    },
  }
}

async function serve(polyphony: Polyphony, logger: FastifyBaseLogger, files: OperatorFiles | undefined): Promise<StartedServer> {
  const { config, apiKeys } = polyphony
  const server = await createHttpServer(polyphony, {
    logger,
    version: readVersion(),
    ...(files && { controlToken: files.controlToken }),
  })
  const start = async () => {
    const url = await server.listen()
    if (config.server.resumeInterrupted) await polyphony.resumeInterrupted()
    polyphony.startBackgroundWork()
    return { url, isOpen: config.server.jwt === undefined && config.server.apiKey === undefined && !(await apiKeys.exist()) }
  }
  const { url, isOpen } = await start().catch(async (error: unknown) => {
    await server.close()
    throw error
  })
  logger.info({ url, isOpen }, 'the server is listening')
  let closing: Promise<void> | undefined
  const { services } = polyphony
  const localUrl = server.localUrl()
  services.announce(localUrl)
  files?.write(localUrl, false)
  const starting = services
    .startAll()
    .catch((error: unknown) => logger.error({ err: error }, 'the services could not be started'))
    .then(() => {
      if (!closing) files?.write(localUrl, true)
    })
  const close = async () => {
    await server.close()
    await polyphony.close({ handOver: config.server.resumeInterrupted, graceMs: config.server.closeTimeoutMs })
    await starting
    await files?.remove()
    logger.info('the server is closed')
  }
  return {
    url,
    config,
    isOpen,
    async reload() {
      try {
        const { problems, ...changes } = await services.reload()
        logger.info(changes, 'the service files were read again')
        for (const problem of problems) logger.warn({ problem }, 'a service file was not used')
      } catch (error) {
        // SIGHUP has no caller that gets the error, and must not end the server.
        logger.error({ err: error }, 'the service files could not be read again')
      }
    },
    close: () => {
      closing ??= close()
      return closing
    },
  }
}
