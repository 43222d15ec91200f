import { decodeText } from '../../config/decode-text.ts'
import { isBlank } from '../../domain/blank-text.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { loadDefinition } from '../definition-source.ts'
import { runFlow, showResult } from '../run-flow.ts'
import { type CommandContext, type DatabaseOptions, LOCAL_USER, type OpenServices, toFlags, withServices } from '../services.ts'
import { prepareRun } from '../sharing.ts'

export interface RunCommandOptions extends DatabaseOptions {
  readonly model?: string
  readonly set?: readonly string[]
  readonly allowSharing?: boolean
  readonly simulate?: boolean
  readonly stream: boolean
  readonly maxCost?: number
  readonly thread?: string
  readonly quiet?: boolean
}

/** `polyphony run <template|file> [prompt]`. */
export async function runCommand(context: CommandContext, name: string, prompt: string | undefined, options: RunCommandOptions) {
  const flags = { ...toFlags(options), ...(options.simulate && { simulator: true }) }
  const { agents } = await context.house.loadConfig(flags)
  const source = { set: options.set, model: options.model, maxCostUsd: options.maxCost }
  // What is wrong with the definition shows before the database is opened.
  const { definition, metadata, find } = await loadDefinition(name, source, await context.house.createParser(agents))
  const input = prompt === '-' ? await readStdin() : prompt
  if (input === undefined && definition.input === undefined && options.thread === undefined) {
    throw new OrchestratorError('FLOW_INPUT_MISSING', `expected a prompt for "${definition.name}", found none`)
  }
  if (input !== undefined && isBlank(input)) {
    const where = prompt === '-' ? 'on standard input' : 'as the argument'
    throw new OrchestratorError(
      'FLOW_INPUT_MISSING',
      `expected a prompt for "${definition.name}" ${where}, found nothing but blanks`,
    )
  }
  await withServices(context, flags, async (open) => {
    await prepareRun(context, open, definition, { userId: LOCAL_USER, allowSharing: options.allowSharing ?? false, find })
    const threadId = options.thread ?? (await createThread(open, input ?? definition.name))
    const flow = await open.orchestrator.createFlow(threadId, LOCAL_USER, definition)
    const { quiet } = options
    const run = { flowId: flow.id, userId: LOCAL_USER, title: flow.name, quiet, input, metadata, streaming: options.stream }
    showResult(context, await runFlow(context, open, run), { quiet })
  })
}

/** Characters of the prompt that name its thread. */
const TITLE_LENGTH = 80

async function createThread({ conversations }: OpenServices, title: string): Promise<string> {
  const { id } = await conversations.createThread(LOCAL_USER, { title: title.slice(0, TITLE_LENGTH) })
  return id
}

async function readStdin(): Promise<string> {
  const { buffer } = await import('node:stream/consumers')
  return decodeText(await buffer(process.stdin), { name: 'standard input', code: 'INPUT_INVALID' })
}
