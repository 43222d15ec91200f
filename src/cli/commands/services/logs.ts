import { defineCommand, parseCount } from '../../command.ts'
import { connect, type DataDirOptions, dataDirOption } from '../../control/service-command.ts'
import { untilStopped } from '../../control/stop-signal.ts'
import { toPlainText } from '../../plain-text.ts'

interface LogsOptions extends DataDirOptions {
  readonly lines: number
  readonly follow?: boolean
}

const DEFAULT_LINES = 200

/** `polyphony services logs`: until SIGINT with `--follow`. */
export const serviceLogsCommand = defineCommand<LogsOptions>({
  group: 'services',
  name: 'logs',
  description: 'print the last lines of the log of a service',
  configure: (command) =>
    command
      .argument('<service>', 'id of the service')
      .option('-n, --lines <count>', 'number of lines', parseCount, DEFAULT_LINES)
      .option('-f, --follow', 'print further lines as they come')
      .addOption(dataDirOption()),
  async run(context, options, id) {
    await untilStopped(async (signal) => {
      try {
        const { lines, follow = false } = options
        const log = (await connect(context, options)).logs(id, { lines, follow, signal })
        for await (const line of log) context.terminal.print(toPlainText(line))
      } catch (error) {
        if (!signal.aborted) throw error
      }
    })
  },
})
