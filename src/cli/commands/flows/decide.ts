import type { Command } from 'commander'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import type { SignalAnswer, SignalEvent } from '../../../orchestrator/waiting/signals.ts'
import { databaseOption, defineCommand, jsonOption, simulateOption } from '../../command.ts'
import { parseJson } from '../../decide-waiting.ts'
import { continueFlow, showResult } from '../../run-flow.ts'
import {
  type CommandContext,
  type DatabaseOptions,
  LOCAL_USER,
  toFlags,
  withServices,
} from '../../services.ts'

interface ContinueOptions extends DatabaseOptions {
  readonly simulate?: boolean
}

interface DecideOptions extends ContinueOptions {
  readonly edit?: string
  readonly data?: string
  readonly hash?: string
}

/** The flow goes on in this process, or in a server or worker that shares the database, and is shown to its end. */
async function decide(context: CommandContext, options: DecideOptions, { flowId, path, answer }: Decision): Promise<void> {
  await withServices(context, flagsOf(options), async (open) => {
    const { orchestrator } = open
    const { name } = await orchestrator.getFlow(flowId, LOCAL_USER, { steps: 'final' })
    const wasPaused = (await orchestrator.getFlowStatus(flowId, LOCAL_USER)).status === 'PAUSED'
    const decided = await orchestrator.signal(flowId, LOCAL_USER, path, answer)
    const run = { flowId, userId: LOCAL_USER, title: name, decided, wasPaused }
    showResult(context, await continueFlow(context, open, run))
  })
}

const flagsOf = ({ simulate, ...options }: ContinueOptions) => ({ ...toFlags(options), ...(simulate && { simulator: true }) })

interface Decision {
  readonly flowId: string
  readonly path: string
  readonly answer: SignalAnswer
}

const configureStep = (command: Command) => command.argument('<flow>', 'id of the flow').argument('<step>', 'path of the step')
const configureAnswer = (command: Command) =>
  command
    .option('--data <json>', 'data that come with the decision')
    .option('--hash <hash>', 'decide only if the step still shows what flows waiting --json listed under this hash')
    .addOption(simulateOption())
    .addOption(databaseOption())
    .addOption(jsonOption())

const toAnswer = ({ edit, data, hash }: DecideOptions): Omit<SignalAnswer, 'approved'> => ({
  ...(edit !== undefined && { edit }),
  ...(data !== undefined && { data: parseJson('--data', data) }),
  ...(hash !== undefined && { hash }),
})

/** `polyphony flows approve <flow> <step>`. */
export const approveCommand = defineCommand<DecideOptions>({
  group: 'flows',
  name: 'approve',
  description: 'approve a step that waits; the flow goes on and is shown to its end',
  configure: (command) => configureAnswer(configureStep(command).option('--edit <text>', 'replace the text that the step shows')),
  run: (context, options, flowId, path) =>
    decide(context, options, { flowId, path: path ?? '', answer: { approved: true, ...toAnswer(options) } }),
})

/** `polyphony flows reject <flow> <step>`. */
export const rejectCommand = defineCommand<DecideOptions>({
  group: 'flows',
  name: 'reject',
  description: 'reject a step that waits; the flow goes on and is shown to its end',
  configure: (command) => configureAnswer(configureStep(command)),
  run: (context, options, flowId, path) =>
    decide(context, options, { flowId, path: path ?? '', answer: { approved: false, ...toAnswer(options) } }),
})

interface EventOptions extends ContinueOptions {
  readonly correlation?: string
  readonly data?: string
}

/** `polyphony flows signal-event <event>`. */
export const signalEventCommand = defineCommand<EventOptions>({
  group: 'flows',
  name: 'signal-event',
  description: 'send an event to the steps that wait for it; their flows go on and are shown to their ends',
  configure: (command) =>
    command
      .argument('<event>', 'name of the event')
      .option('--correlation <text>', 'reach the steps with this correlation; default: those without one')
      .option('--data <json>', 'data of the event')
      .addOption(simulateOption())
      .addOption(databaseOption())
      .addOption(jsonOption()),
  async run(context, { correlation, data, ...options }, name) {
    const event: SignalEvent = {
      event: name,
      ...(correlation !== undefined && { correlation }),
      ...(data !== undefined && { data: parseJson('--data', data) }),
    }
    await withServices(context, flagsOf(options), async (open) => {
      const { orchestrator } = open
      const { delivered } = await orchestrator.signalEvent(LOCAL_USER, event)
      if (context.json) context.terminal.printJson({ type: 'delivered', delivered })
      else context.terminal.print(`The event has reached ${delivered.length} ${delivered.length === 1 ? 'step' : 'steps'}.`)
      for (const decided of new Map(delivered.map((one) => [one.flowId, one])).values()) {
        const { flowId } = decided
        const { name: title } = await orchestrator.getFlow(flowId, LOCAL_USER, { steps: 'final' })
        await continueFlow(context, open, { flowId, userId: LOCAL_USER, title, decided, wasPaused: true }).then(
          (result) => showResult(context, result),
          (error: unknown) => {
            // The other flows are still shown when one has failed or is paused again.
            if (!OrchestratorError.is(error)) throw error
            context.terminal.warn(`${error.code}: ${error.message}`)
          },
        )
      }
    })
  },
})
