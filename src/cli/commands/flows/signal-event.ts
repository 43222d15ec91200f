import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import { databaseOption, dataOption, defineCommand, jsonOption, simulateOption } from '../../command.ts'
import { type ContinueOptions, toContinueFlags } from '../../decide-step.ts'
import { continueFlow, showResult } from '../../run-flow.ts'
import { LOCAL_USER, withRunningServices } from '../../services.ts'

interface EventOptions extends ContinueOptions {
  readonly correlation?: string
  readonly data?: unknown
}

/** `polyphony flows signal-event <event>`. */
export const signalEventCommand = defineCommand<EventOptions>({
  group: 'flows',
  name: 'signal-event',
  description: 'send an event to the steps that wait for it; their flows continue and are shown to their ends',
  configure: (command) =>
    command
      .argument('<event>', 'name of the event')
      .option('--correlation <text>', 'reach the steps with this correlation; default: those without one')
      .addOption(dataOption('data of the event'))
      .addOption(simulateOption())
      .addOption(databaseOption())
      .addOption(jsonOption()),
  async run(context, { correlation, data, ...options }, event) {
    const { terminal, json } = context
    await withRunningServices(context, toContinueFlags(options), async (open) => {
      const { orchestrator } = open
      const sent = { event, ...(correlation !== undefined && { correlation }), ...(data !== undefined && { data }) }
      const { delivered } = await orchestrator.signalEvent(LOCAL_USER, sent)
      if (json) terminal.printJson({ type: 'delivered', delivered })
      else terminal.print(`The event has reached ${delivered.length} ${delivered.length === 1 ? 'step' : 'steps'}.`)
      for (const decided of new Map(delivered.map((one) => [one.flowId, one])).values()) {
        const { flowId } = decided
        const { name: title } = await orchestrator.getFlow(flowId, LOCAL_USER, { steps: 'final' })
        await continueFlow(context, open, { flowId, userId: LOCAL_USER, title, decided, wasPaused: true }).then(
          (result) => showResult(context, result),
          (error: unknown) => {
            // The other flows are still shown when one has failed or is paused again.
            if (!OrchestratorError.is(error)) throw error
            terminal.warn(`${error.code}: ${error.message}`)
          },
        )
      }
    })
  },
})
