import type { FastifyBaseLogger } from 'fastify'
import { loadConfig, type PolyphonyConfig, type PolyphonyConfigInput } from '../config/config.ts'
import { readVersion } from '../config/version.ts'
import { createPolyphony, type Polyphony } from '../polyphony.ts'
import { createServerLogger, toLogger } from '../telemetry/logs.ts'
import { createServer } from './server.ts'

export { createServer, type PolyphonyServer, type ServerOptions } from './server.ts'

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
  const server = await createServer(polyphony, { logger, version: readVersion() })
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
