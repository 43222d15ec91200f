import { Option } from 'commander'
import type { PolyphonyConfigInput } from '../../config/config.ts'
import { type CliCommand, defineCommand, jsonOption, parseCount } from '../command.ts'
import type { CommandContext } from '../services.ts'
import { connectToServer, type ServerConnection } from './server-connection.ts'
import { printService } from './service-table.ts'

/** Options of commands that find a server by its files. */
export interface DataDirOptions {
  readonly dataDir?: string
  readonly services?: string
}

export const dataDirOption = () =>
  new Option('--data-dir <directory>', 'folder of the files of the server; default services.dataDir')

export const servicesOption = () => new Option('--services <directory>', 'folder of the service files')

export const toServiceFlags = ({ dataDir, services }: DataDirOptions): PolyphonyConfigInput => ({
  services: { ...(dataDir === undefined ? {} : { dataDir }), ...(services === undefined ? {} : { dir: services }) },
})

/** The running server; rejects with SERVER_NOT_RUNNING. The database is not opened. */
export const connect = async ({ services }: CommandContext, options: DataDirOptions): Promise<ServerConnection> =>
  connectToServer(await services.loadConfig(toServiceFlags(options)))

interface WaitOptions extends DataDirOptions {
  readonly wait: number
}

const DEFAULT_WAIT_MS = 60_000

export interface ServiceCommandPlan {
  readonly name: 'start' | 'stop' | 'restart'
  readonly description: string
}

/** Defines a command that changes the state of one service. */
export const defineServiceCommand = ({ name, description }: ServiceCommandPlan): CliCommand =>
  defineCommand<WaitOptions>({
    group: 'services',
    name,
    description,
    configure: (command) =>
      command
        .argument('<service>', 'id of the service')
        .option('--wait <ms>', 'milliseconds to wait until it is done', parseCount, DEFAULT_WAIT_MS)
        .addOption(dataDirOption())
        .addOption(jsonOption()),
    async run(context, options, id) {
      const { terminal, json } = context
      const report = await (await connect(context, options)).command(id, name, options.wait)
      if (json) terminal.printJson(report)
      else printService(terminal, report)
    },
  })
