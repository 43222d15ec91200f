import { resolve } from 'node:path'
import type { PolyphonyConfig } from '../../config/config.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { ReportedReload, ReportedService } from '../../protocol/service.ts'
import { isServerRunning, readServerFile, type ServerFile } from '../../system/server-file.ts'
import { toServerError } from './problem.ts'
import { createServerEvents, type ServerEvents } from './server-events.ts'

/** A server of this machine that the command line controls. */
export interface ServerConnection {
  readonly server: ServerFile
  readonly events: ServerEvents
  list(): Promise<readonly ReportedService[]>
  get(id: string): Promise<ReportedService>
  /** Resolves when the command is done; rejects with its error. */
  command(id: string, name: 'start' | 'stop' | 'restart', waitMs: number): Promise<ReportedService>
  /** Reads the service files again; resolves with what has changed. */
  reload(): Promise<ReportedReload>
  /** Lines of the log of a service, as the server sends them. */
  logs(
    id: string,
    options: { readonly lines: number; readonly follow: boolean; readonly signal?: AbortSignal },
  ): AsyncIterable<string>
}

export const dataDirOf = ({ services }: Pick<PolyphonyConfig, 'services'>): string => resolve(services.dataDir)
export const logDirOf = ({ services }: Pick<PolyphonyConfig, 'services'>): string =>
  resolve(services.logDir ?? `${services.dataDir}/logs`)

/** The server whose files are in the folder and whose process still runs. */
export function findServer(dataDir: string): ServerFile | undefined {
  const server = readServerFile(dataDir)
  return server && isServerRunning(server) ? server : undefined
}

/** Throws SERVER_NOT_RUNNING where no server of the folder runs. */
export function connectToServer(config: Pick<PolyphonyConfig, 'services'>): ServerConnection {
  const dataDir = dataDirOf(config)
  const server = findServer(dataDir)
  if (server) return createControl(server)
  throw new OrchestratorError('SERVER_NOT_RUNNING', `expected a server with its files in ${dataDir}, found none that runs`, {
    details: { dataDir },
  })
}

export function createControl(server: ServerFile): ServerConnection {
  async function send(method: string, path: string, signal?: AbortSignal, accept = '*/*'): Promise<Response> {
    const headers = { authorization: `Bearer ${server.token}`, accept }
    const response = await fetch(`${server.url}/api/v1${path}`, {
      method,
      headers,
      redirect: 'error',
      signal: signal ?? null,
    }).catch((error: unknown) => {
      if (signal?.aborted) throw error
      throw new OrchestratorError('SERVER_NOT_RUNNING', `the server at ${server.url} does not answer`, { cause: error })
    })
    if (!response.ok) throw await toError(response)
    return response
  }
  /** Loaded at the first answer, because every start of the program loads this file. */
  const schemas = () => import('../../protocol/service.ts')
  const at = (id: string): string => `/services/${encodeURIComponent(id)}`

  return {
    server,
    events: createServerEvents((path, { accept, signal }) => send('GET', path, signal, accept)),
    async list() {
      const answer: unknown = await (await send('GET', '/services')).json()
      return (await schemas()).serviceList.parse(answer).items
    },
    async get(id) {
      const answer: unknown = await (await send('GET', at(id))).json()
      return (await schemas()).serviceReport.parse(answer)
    },
    async command(id, name, waitMs) {
      const answer: unknown = await (await send('PUT', `${at(id)}/${name}?wait=${waitMs}`)).json()
      return (await schemas()).serviceReport.parse(answer)
    },
    async reload() {
      const answer: unknown = await (await send('POST', '/services/reload')).json()
      return (await schemas()).serviceReload.parse(answer)
    },
    async *logs(id, { lines, follow, signal }) {
      const response = await send('GET', `${at(id)}/logs?lines=${lines}&follow=${follow}`, signal)
      let rest = ''
      for await (const text of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
        const found = (rest + text).split('\n')
        rest = found.pop() ?? ''
        yield* found
      }
      if (rest !== '') yield rest
    },
  }
}

const toError = async (response: Response): Promise<OrchestratorError> =>
  toServerError(await response.json().catch(() => undefined), `the server answered with status ${response.status}`)
