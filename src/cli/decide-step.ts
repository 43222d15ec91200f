import type { Command } from 'commander'
import type { SignalAnswer } from '../orchestrator/waiting/signals.ts'
import { databaseOption, dataOption, jsonOption, simulateOption } from './command.ts'
import { continueFlow, showResult } from './run-flow.ts'
import { type CommandContext, type DatabaseOptions, LOCAL_USER, toFlags, withRunningServices } from './services.ts'

/** Options of commands that let a flow continue in this process. */
export interface ContinueOptions extends DatabaseOptions {
  readonly simulate?: boolean
}

export interface DecideOptions extends ContinueOptions {
  readonly edit?: string
  readonly data?: unknown
  readonly hash?: string
}

export interface Decision {
  readonly flowId: string
  readonly path: string
  readonly approved: boolean
}

export const toContinueFlags = ({ simulate, ...options }: ContinueOptions) => ({
  ...toFlags(options),
  ...(simulate && { simulator: true }),
})

/** Adds the arguments and options of a command that decides about a step. */
export const configureDecision = (command: Command): Command =>
  command
    .argument('<flow>', 'id of the flow')
    .argument('<step>', 'path of the step')
    .addOption(dataOption('data that come with the decision'))
    .option('--hash <hash>', 'decide only if the step still shows what "flows waiting --json" listed under this hash')
    .addOption(simulateOption())
    .addOption(databaseOption())
    .addOption(jsonOption())

/**
 * Decides about a step and shows the flow to its end. The flow continues in this process, or in a server or worker that
 * shares the database.
 */
export async function decideStep(
  context: CommandContext,
  { edit, data, hash, ...options }: DecideOptions,
  { flowId, path, approved }: Decision,
): Promise<void> {
  const answer: SignalAnswer = {
    approved,
    ...(edit !== undefined && { edit }),
    ...(data !== undefined && { data }),
    ...(hash !== undefined && { hash }),
  }
  await withRunningServices(context, toContinueFlags(options), async (open) => {
    const { orchestrator } = open
    const { name, status } = await orchestrator.getFlow(flowId, LOCAL_USER, { steps: 'final' })
    const decided = await orchestrator.signal(flowId, LOCAL_USER, path, answer)
    const run = { flowId, userId: LOCAL_USER, title: name, decided, wasPaused: status === 'PAUSED' }
    showResult(context, await continueFlow(context, open, run))
  })
}
