import { databaseOption, defineCommand, jsonOption } from '../../command.ts'
import { type DatabaseOptions, LOCAL_USER, type OpenServices, toFlags, withServices } from '../../services.ts'

/** `polyphony flows cancel <id>`. */
export const cancelFlowCommand = defineCommand<DatabaseOptions>({
  group: 'flows',
  name: 'cancel',
  description: 'cancel a flow that has not ended',
  configure: (command) => command.argument('<id>').addOption(databaseOption()).addOption(jsonOption()),
  async run(context, options, flowId) {
    const cancel = ({ orchestrator }: OpenServices) => orchestrator.cancelFlow(flowId, LOCAL_USER)
    const status = await withServices(context, toFlags(options), cancel)
    if (context.json) return context.terminal.printJson(status)
    context.terminal.print(`${status.flowId} is ${status.status}`)
  },
})
