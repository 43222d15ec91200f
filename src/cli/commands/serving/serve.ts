import { once } from 'node:events'
import { Option } from 'commander'
import type { PolyphonyConfigInput } from '../../../config/config.ts'
import { startProcesses } from '../../../system/supervised-processes.ts'
import {
  databaseOption,
  defineCommand,
  hostOption,
  jsonOption,
  parseCount,
  portOption,
  registerOption,
  simulateOption,
} from '../../command.ts'
import { type DataDirOptions, dataDirOption, servicesOption, toServiceFlags } from '../../control/service-command.ts'
import { untilStopped } from '../../control/stop-signal.ts'
import { type DatabaseOptions, type RunningServer, toFlags } from '../../services.ts'
import { requireQueuedFlows, requireSharedDatabase } from '../../serving/distribution.ts'
import type { Terminal } from '../../terminal.ts'

interface ServeOptions extends DatabaseOptions, DataDirOptions {
  readonly background?: boolean
  readonly host?: string
  readonly port?: number
  readonly register?: string
  readonly simulate?: boolean
  readonly workers?: number
}

/** `polyphony serve`: runs the server until SIGINT or SIGTERM. */
export const serveCommand = defineCommand<ServeOptions>({
  name: 'serve',
  description: 'start the server: HTTP, WebSocket, OpenAI-compatible API, MCP',
  configure: (command) =>
    command
      .addOption(hostOption())
      .addOption(portOption())
      .option('--workers <number>', 'worker processes beside the server, over the same Postgres; needs engine bullmq', parseCount)
      .addOption(servicesOption())
      .addOption(dataDirOption())
      .addOption(new Option('--background', 'write the log to a file, as `polyphony up` does').hideHelp())
      .addOption(registerOption())
      .addOption(simulateOption())
      .addOption(databaseOption())
      .addOption(jsonOption()),
  async run({ services, terminal, json }, options) {
    const { host, port, register, simulate, background = false, workers = 0 } = options
    const flags: PolyphonyConfigInput = {
      ...toFlags(options),
      ...toServiceFlags(options),
      ...(simulate ? { simulator: true } : {}),
      server: { ...(host === undefined ? {} : { host }), ...(port === undefined ? {} : { port }) },
    }
    let reload = () => {}
    const hangUp = () => reload()
    process.on('SIGHUP', hangUp)
    const work = async (signal: AbortSignal) => {
      const workerArguments = toWorkerArguments(options)
      if (workers > 0) {
        const config = await services.loadConfig(flags)
        requireSharedDatabase(config, '--workers')
        requireQueuedFlows(config, '--workers')
        // The workers of one machine cannot share the configured port.
        if (config.worker.healthPort !== undefined) workerArguments.push('--health-port', '0')
      }
      const server = await services.serve(flags, { background, ...(register !== undefined && { register }) })
      reload = () => void server.reload()
      const children = workers > 0 ? startProcesses({ count: workers, arguments: workerArguments }) : undefined
      if (json) terminal.printJson({ type: 'listening', url: server.url, open: server.isOpen })
      else printAddresses(terminal, server)
      if (!signal.aborted) await once(signal, 'abort')
      if (!json) terminal.print('Closing: running flows may end within a grace period; the next start resumes the others.')
      await Promise.all([children?.stop(), server.close()])
    }
    await untilStopped(work).finally(() => process.off('SIGHUP', hangUp))
  },
})

function printAddresses({ print }: Terminal, { url, isOpen }: RunningServer): void {
  print(`Polyphony listens on ${url}`)
  print(`  ${url}/docs      every endpoint, to try out`)
  print(`  ${url}/api/v1    flows over HTTP; WebSocket at /ws`)
  print(`  ${url}/v1        flows as models, for any OpenAI client`)
  print(`  ${url}/mcp       flows as tools, for any MCP client`)
  if (isOpen) {
    print('There are no API keys yet: every program on this machine acts as the user "local".')
    print('Create a key with `polyphony keys create`.')
  }
}

/** The command line of a worker with the options of this server. */
const toWorkerArguments = ({ database, register, simulate }: ServeOptions): string[] => [
  String(process.argv[1]),
  'worker',
  ...(database === undefined ? [] : ['--database', database]),
  ...(register === undefined ? [] : ['--register', register]),
  ...(simulate ? ['--simulate'] : []),
]
