import { defineCommand, jsonOption } from '../../command.ts'
import { connect, type DataDirOptions, dataDirOption } from '../../control/service-command.ts'
import { printServices } from '../../control/service-table.ts'

/** `polyphony services list`. */
export const listServicesCommand = defineCommand<DataDirOptions>({
  group: 'services',
  name: 'list',
  description: 'list the services of the running server',
  configure: (command) => command.addOption(dataDirOption()).addOption(jsonOption()),
  async run(context, options) {
    const { terminal, json } = context
    const services = await (await connect(context, options)).list()
    if (json) return services.forEach(terminal.printJson)
    if (services.length === 0) return terminal.print('No services yet: write a file in the folder services.')
    printServices(terminal, services)
  },
})
