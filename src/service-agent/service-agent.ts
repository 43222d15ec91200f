import type { Server } from 'node:http'

export interface ServiceAgentOptions {
  /** API key, or the token of a supervised process. Default: `POLYPHONY_SERVICE_RUN`, which a supervisor sets. */
  readonly token?: string | undefined
}

export interface RegisterOptions {
  /** Address under which the service is called. */
  readonly endpoint?: string
  /** Address of its health. Default: that of `serveHealth`. */
  readonly health?: string
  /** Default: `agent`. */
  readonly type?: string
  readonly name?: string
  /** Milliseconds within which the heartbeats repeat, which `register` begins; 0 for none. Default: 30,000. */
  readonly leaseMs?: number
}

/** The server refused a request of the agent; `code` is a code of its error table. */
export class ServiceAgentError extends Error {
  override readonly name = 'ServiceAgentError'
  readonly code: string
  /** HTTP status. */
  readonly status: number

  constructor(code: string, status: number, message: string) {
    super(message)
    this.code = code
    this.status = status
  }
}

/**
 * Connects a program with the server that supervises it, or that is to call it. `url` is the address of the server;
 * default: `POLYPHONY_URL`, which a supervisor sets, else `http://127.0.0.1:4100`.
 *
 * ```ts
 * import { ServiceAgent } from 'polyphony/service-agent'
 *
 * const agent = new ServiceAgent('my-service')
 * await agent.serveHealth({ port: 8001 })
 * await agent.register({ endpoint: 'http://127.0.0.1:8001' })
 * agent.onStop(() => console.log('ends'))
 * ```
 */
export class ServiceAgent {
  readonly id: string
  readonly url: string
  readonly #token: string | undefined
  readonly #isSupervised: boolean
  readonly #stopHandlers: (() => unknown)[] = []
  #server: Server | undefined
  #healthUrl: string | undefined
  #timer: ReturnType<typeof setInterval> | undefined
  #isStopping = false
  readonly #onSignal = () => void this.#stop()

  constructor(id: string, url: string = process.env.POLYPHONY_URL ?? 'http://127.0.0.1:4100', options: ServiceAgentOptions = {}) {
    const run = process.env.POLYPHONY_SERVICE_RUN
    this.id = id
    this.url = url.replace(/\/+$/, '')
    this.#token = options.token ?? run
    this.#isSupervised = run !== undefined && this.#token === run
  }

  /**
   * Announces the service and begins its heartbeats; resolves with its state at the server. Without an address this
   * program answers for its health itself, see `serveHealth`. Rejects with a ServiceAgentError.
   */
  async register({ endpoint, health, leaseMs = 30_000, ...rest }: RegisterOptions = {}): Promise<Record<string, unknown>> {
    if (endpoint === undefined && health === undefined && !this.#isSupervised) await this.serveHealth()
    const url = health ?? this.#healthUrl
    const lease = leaseMs > 0 && !this.#isSupervised ? { leaseMs } : {}
    const body = { id: this.id, ...rest, ...lease, ...(endpoint && { endpoint }), ...(url && { health: { url } }) }
    const report = await this.#send('/api/v1/services', body)
    clearInterval(this.#timer)
    if (leaseMs > 0) {
      // A beat that is lost is repeated within the lease.
      this.#timer = setInterval(() => void this.heartbeat().catch(() => undefined), leaseMs / 3)
      this.#timer.unref?.()
    }
    return report
  }

  /** Reports that the service is alive. Rejects with a ServiceAgentError. */
  heartbeat(): Promise<Record<string, unknown>> {
    return this.#send(`/api/v1/services/${encodeURIComponent(this.id)}/heartbeat`)
  }

  /**
   * Calls the function once when this program is asked to end (SIGTERM), before it exits with code 0. Several functions
   * are called in their order; a function that rejects does not keep the others from being called.
   */
  onStop(handler: () => unknown): this {
    if (this.#stopHandlers.push(handler) === 1) process.on('SIGTERM', this.#onSignal)
    return this
  }

  /**
   * Answers `GET /health` with `{ status: 'healthy', service, timestamp }` on 127.0.0.1; resolves with the address.
   * `port` defaults to `PORT`, which a supervisor sets, else to a free one.
   */
  async serveHealth({ port = Number(process.env.PORT ?? 0) }: { readonly port?: number } = {}): Promise<string> {
    if (this.#healthUrl !== undefined) return this.#healthUrl
    const { createServer } = await import('node:http')
    const server = createServer(({ url = '' }, response) => {
      const isHealth = url.split('?', 1)[0] === '/health'
      response.writeHead(isHealth ? 200 : 404, { 'content-type': 'application/json' })
      const health = { status: 'healthy', service: this.id, timestamp: new Date().toISOString() }
      response.end(JSON.stringify(isHealth ? health : { error: 'expected /health' }))
    })
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, '127.0.0.1', resolve)
    })
    const address = server.address()
    this.#server = server
    this.#healthUrl = `http://127.0.0.1:${typeof address === 'object' && address ? address.port : port}/health`
    return this.#healthUrl
  }

  /** Ends heartbeats and the answers for the health; the service stays registered. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    process.off('SIGTERM', this.#onSignal)
    const server = this.#server
    this.#server = undefined
    this.#healthUrl = undefined
    if (!server) return
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }

  async #stop(): Promise<void> {
    if (this.#isStopping) return
    this.#isStopping = true
    for (const handler of this.#stopHandlers) {
      try {
        await handler()
      } catch (error) {
        console.error(error)
      }
    }
    await this.close()
    process.exit(0)
  }

  async #send(path: string, body?: unknown): Promise<Record<string, unknown>> {
    const response = await fetch(this.url + path, {
      method: 'POST',
      redirect: 'error',
      headers: {
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }),
      },
      body: body === undefined ? null : JSON.stringify(body),
    })
    const answer = toRecord(await response.json().catch(() => undefined))
    if (response.ok) return answer
    const text = String(answer.detail ?? `the server answered with status ${response.status}`)
    throw new ServiceAgentError(String(answer.code ?? 'UNKNOWN'), response.status, text)
  }
}

const toRecord = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value)) : {}
