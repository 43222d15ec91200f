import { defineCommand, jsonOption } from '../../command.ts'
import { connect, type DataDirOptions, dataDirOption } from '../../control/service-command.ts'

/** `polyphony services reload`: as SIGHUP to the server. */
export const reloadServicesCommand = defineCommand<DataDirOptions>({
  group: 'services',
  name: 'reload',
  description: 'read the service files again; services whose files have changed are started again',
  configure: (command) => command.addOption(dataDirOption()).addOption(jsonOption()),
  async run(context, options) {
    const { terminal, json } = context
    const result = await (await connect(context, options)).reload()
    if (json) return terminal.printJson(result)
    const { problems, ...changes } = result
    for (const [name, ids] of Object.entries(changes)) if (ids.length > 0) terminal.print(`${name}: ${ids.join(', ')}`)
    if (Object.values(changes).every((ids) => ids.length === 0)) terminal.print('Nothing has changed.')
    for (const problem of problems) terminal.warn(problem)
  },
})
