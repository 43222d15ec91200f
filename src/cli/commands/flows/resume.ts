import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import { allowSharingOption, databaseOption, defineCommand, jsonOption, maxCostOption, simulateOption } from '../../command.ts'
import { runFlow, showResult } from '../../run-flow.ts'
import { type DatabaseOptions, DEMO_USER, LOCAL_USER, toFlags, withRunningServices } from '../../services.ts'

interface ResumeOptions extends DatabaseOptions {
  readonly allowSharing?: boolean
  readonly simulate?: boolean
  readonly maxCost?: number
}

/** `polyphony flows resume <id>`. */
export const resumeFlowCommand = defineCommand<ResumeOptions>({
  group: 'flows',
  name: 'resume',
  description: 'continue a failed, cancelled or interrupted flow to its end; recorded steps are not paid for twice',
  configure: (command) =>
    command
      .argument('<id>')
      .addOption(maxCostOption('all executions of the flow'))
      .addOption(allowSharingOption())
      .addOption(simulateOption())
      .addOption(databaseOption())
      .addOption(jsonOption()),
  async run(context, options, flowId) {
    const { allowSharing = false, simulate, maxCost: maxCostUsd } = options
    await withRunningServices(context, { ...toFlags(options), ...(simulate && { simulator: true }) }, async (open) => {
      const { id, name, userId, definition } = await open.orchestrator.getFlow(flowId, LOCAL_USER)
      if (userId === DEMO_USER && !open.config.simulator) {
        // The demo allowed its data sharing for the simulator only, so real providers must not receive the texts.
        throw new OrchestratorError('INPUT_INVALID', 'a flow of the demo can be resumed with --simulate only', {
          details: { flowId },
        })
      }
      const { prepareRun } = await import('../../questions/sharing.ts')
      await prepareRun(context, open, definition, { userId, allowSharing })
      const limits = maxCostUsd === undefined ? undefined : { maxCostUsd }
      const execution = { flowId: id, userId: LOCAL_USER, title: name, streaming: true, limits }
      showResult(context, await runFlow(context, open, execution))
    })
  },
})
