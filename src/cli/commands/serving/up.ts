import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import type { ReportedService } from '../../../protocol/service.ts'
import {
  databaseOption,
  defineCommand,
  hostOption,
  jsonOption,
  portOption,
  registerOption,
  simulateOption,
  timeoutOption,
} from '../../command.ts'
import { startInBackground, untilReady } from '../../control/background-server.ts'
import { toErrorCode } from '../../control/problem.ts'
import { createControl, dataDirOf, findServer, logDirOf } from '../../control/server-connection.ts'
import { type DataDirOptions, dataDirOption, servicesOption, toServiceFlags } from '../../control/service-command.ts'
import { printServices } from '../../control/service-table.ts'
import { type DatabaseOptions, toFlags } from '../../services.ts'

interface UpOptions extends DataDirOptions, DatabaseOptions {
  readonly host?: string
  readonly port?: number
  readonly register?: string
  readonly simulate?: boolean
  readonly timeout: number
}

const DEFAULT_TIMEOUT_MS = 120_000

/** `polyphony up`: starts a server in the background and returns when it and its services run. */
export const upCommand = defineCommand<UpOptions>({
  name: 'up',
  description: 'start the server and its services in the background; returns when they run',
  configure: (command) =>
    command
      .addOption(hostOption())
      .addOption(portOption())
      .addOption(servicesOption())
      .addOption(timeoutOption('milliseconds to wait until everything runs', DEFAULT_TIMEOUT_MS))
      .addOption(dataDirOption())
      .addOption(registerOption())
      .addOption(simulateOption())
      .addOption(databaseOption())
      .addOption(jsonOption()),
  async run({ services, terminal, json }, options) {
    const config = await services.loadConfig({ ...toServiceFlags(options), ...toFlags(options) })
    const folders = { dataDir: dataDirOf(config), logDir: logDirOf(config), timeoutMs: options.timeout }
    const running = findServer(folders.dataDir)
    const words = toWords(options)
    if (running && words.length > 0) terminal.warn(ignored(words, running.pid))
    const server = running
      ? await untilReady(folders, () => {
          throw new OrchestratorError('SERVER_NOT_RUNNING', `the server ${running.pid} ended before it was ready`)
        })
      : await startInBackground(['--json', ...words], folders)
    const reports = await createControl(server).list()
    if (json) terminal.printJson({ type: 'up', url: server.url, pid: server.pid, services: reports })
    else {
      terminal.print(`The server ${running ? 'runs already' : 'runs'} at ${server.url}, pid ${server.pid}.`)
      if (reports.length > 0) printServices(terminal, reports)
    }
    const failed = reports.find(hasFailed)
    if (failed?.lastError)
      throw new OrchestratorError(toErrorCode(failed.lastError.code), failed.lastError.message, {
        details: { service: failed.id },
      })
  },
})

const hasFailed = ({ state, lastError }: ReportedService): boolean =>
  lastError !== undefined && (state === 'failed' || state === 'backoff')
/** Options belong to the start of a server, and a server that runs has had its own. */
const ignored = (words: readonly string[], pid: number): string =>
  `These options change nothing, as the server ${pid} runs already: ${words.join(' ')}. End it first: polyphony down`

const toWords = ({ host, port, services, dataDir, register, simulate, database }: UpOptions): readonly string[] => [
  ...(host === undefined ? [] : ['--host', host]),
  ...(port === undefined ? [] : ['--port', String(port)]),
  ...(services === undefined ? [] : ['--services', services]),
  ...(dataDir === undefined ? [] : ['--data-dir', dataDir]),
  ...(register === undefined ? [] : ['--register', register]),
  ...(simulate ? ['--simulate'] : []),
  ...(database === undefined ? [] : ['--database', database]),
]
