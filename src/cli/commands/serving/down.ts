import { removeFilesOfEnded } from '../../../system/server-file.ts'
import { defineCommand, jsonOption, timeoutOption } from '../../command.ts'
import { endServer } from '../../control/end-server.ts'
import { dataDirOf, findServer } from '../../control/server-connection.ts'
import { type DataDirOptions, dataDirOption, toServiceFlags } from '../../control/service-command.ts'

interface DownOptions extends DataDirOptions {
  readonly orphans?: boolean
  readonly timeout: number
}

const DEFAULT_TIMEOUT_MS = 60_000

/** `polyphony down`: ends the server of this folder and everything that it supervises. */
export const downCommand = defineCommand<DownOptions>({
  name: 'down',
  description: 'stop the server and its services, which end in order',
  configure: (command) =>
    command
      .option('--orphans', 'end services that a killed server left behind, without a server')
      .addOption(
        timeoutOption('milliseconds for the server to end; then it and its services are ended by force', DEFAULT_TIMEOUT_MS),
      )
      .addOption(dataDirOption())
      .addOption(jsonOption()),
  async run({ services, terminal, json }, options) {
    const config = await services.loadConfig(toServiceFlags(options))
    const dataDir = dataDirOf(config)
    const server = findServer(dataDir)
    const { killTimeoutMs } = config.services.stop
    const forced = server ? await endServer(server, { timeoutMs: options.timeout, killTimeoutMs }) : false
    // A server that was ended by force could not end its services.
    const orphans = options.orphans || forced ? await services.endOrphans(config) : []
    removeFilesOfEnded(dataDir)
    if (json) return terminal.printJson({ type: 'down', pid: server?.pid, forced, orphans })
    const how = forced ? ` by force, ${options.timeout} ms after it was asked to` : ''
    terminal.print(server ? `The server ${server.pid} has ended${how}.` : 'No server runs.')
    for (const { id, outcome, pids } of orphans)
      terminal.print(`${id}: ${outcome}${pids.length > 0 ? ` (${pids.join(', ')})` : ''}`)
  },
})
