import { defineCommand, jsonOption } from '../../command.ts'
import { connect, type DataDirOptions, dataDirOption } from '../../control/service-command.ts'
import { printService } from '../../control/service-table.ts'

/** `polyphony services show`. */
export const showServiceCommand = defineCommand<DataDirOptions>({
  group: 'services',
  name: 'show',
  description: 'show a service of the running server with its process, health and last error',
  configure: (command) => command.argument('<service>', 'id of the service').addOption(dataDirOption()).addOption(jsonOption()),
  async run(context, options, id) {
    const { terminal, json } = context
    const service = await (await connect(context, options)).get(id)
    if (json) terminal.printJson(service)
    else printService(terminal, service)
  },
})
