import { allowSharingOption, databaseOption, defineCommand, jsonOption, simulateOption } from '../../command.ts'
import { runFlow, showResult } from '../../run-flow.ts'
import { type DatabaseOptions, LOCAL_USER, toFlags, withRunningServices } from '../../services.ts'

interface RerunOptions extends DatabaseOptions {
  readonly from?: string
  readonly input?: string
  readonly allowSharing?: boolean
  readonly simulate?: boolean
}

/** `polyphony flows rerun <id>`. */
export const rerunFlowCommand = defineCommand<RerunOptions>({
  group: 'flows',
  name: 'rerun',
  description: 'run the definition of a flow as a new flow',
  configure: (command) =>
    command
      .argument('<id>')
      .option('--from <step>', 'keep the results of the steps before this one')
      .option('--input <text>', 'use another prompt')
      .addOption(allowSharingOption())
      .addOption(simulateOption())
      .addOption(databaseOption())
      .addOption(jsonOption()),
  async run(context, options, flowId) {
    const { from: fromStep, input, allowSharing = false, simulate } = options
    await withRunningServices(context, { ...toFlags(options), ...(simulate && { simulator: true }) }, async (open) => {
      const { orchestrator } = open
      const { definition } = await orchestrator.getFlow(flowId, LOCAL_USER)
      const { prepareRun } = await import('../../questions/sharing.ts')
      await prepareRun(context, open, definition, { userId: LOCAL_USER, allowSharing })
      const { id, name } = await orchestrator.rerunFlow(flowId, LOCAL_USER, { fromStep, input })
      showResult(context, await runFlow(context, open, { flowId: id, userId: LOCAL_USER, title: name, streaming: true }))
    })
  },
})
