import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { toListenError, toUrl } from '../listen-error.ts'
import { createHealthReading, type HealthDeps, isPassing } from './read-health.ts'

export interface HealthListenerOptions extends Omit<HealthDeps, 'isClosing' | 'startedAtMs'> {
  readonly host: string
  /** 0 for any free port. */
  readonly port: number
}

/** Answers probes of a process that has no server. */
export interface HealthListener {
  /** URL of the probe. */
  readonly url: string
  /** Listens no more, and ends connections. */
  close(): Promise<void>
}

/**
 * Answers GET /health as the server does, and everything else with 404. Rejects with CONFIG_INVALID when the address is
 * not available.
 */
export async function listenForHealth({ host, port, ...deps }: HealthListenerOptions): Promise<HealthListener> {
  const read = createHealthReading({ ...deps, isClosing: () => false, startedAtMs: Date.now() })

  async function answer(response: ServerResponse): Promise<void> {
    const health = await read({ withEngine: true })
    response.writeHead(isPassing(health) ? 200 : 503, { 'content-type': 'application/json', 'cache-control': 'no-store' })
    response.end(JSON.stringify(health))
  }

  const server = createServer((request, response) => {
    const isProbe = request.method === 'GET' && request.url?.split('?')[0] === '/health'
    if (isProbe) answer(response).catch(() => response.destroy())
    else response.writeHead(404).end()
  })
  server.listen({ host, port })
  await once(server, 'listening').catch((error: unknown) => {
    throw toListenError(error, {
      host: { key: 'server.host', value: host },
      port: { key: 'worker.healthPort', value: port },
    })
  })
  const address = server.address()
  const found = typeof address === 'object' && address !== null ? address.port : port
  return {
    url: `${toUrl(host, found)}/health`,
    async close() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}
