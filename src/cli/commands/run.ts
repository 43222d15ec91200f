import { Option } from 'commander'
import { decodeText } from '../../config/decode-text.ts'
import { isBlank } from '../../domain/blank-text.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import {
  allowSharingOption,
  databaseOption,
  defineCommand,
  jsonOption,
  maxCostOption,
  modelOption,
  setOption,
  simulateOption,
} from '../command.ts'
import { loadDefinition } from '../definition-source.ts'
import { runFlow, showResult } from '../run-flow.ts'
import { type DatabaseOptions, LOCAL_USER, type OpenServices, toFlags, withRunningServices } from '../services.ts'

interface RunOptions extends DatabaseOptions {
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
export const runCommand = defineCommand<RunOptions>({
  name: 'run',
  description: 'run a template or a definition file',
  configure: (command) =>
    command
      .argument('<template|file>', 'name of a template, or a .yaml, .yml or .json file')
      .argument('[prompt]', 'prompt of the flow; "-" reads it from standard input')
      .addOption(modelOption())
      .addOption(setOption('set a parameter of a template, or {{ metadata.key }} of a file'))
      .addOption(allowSharingOption())
      .addOption(simulateOption())
      .addOption(maxCostOption('the run'))
      .option('--thread <id>', 'run in this thread instead of a new one')
      .option('--no-stream', 'request complete answers from providers')
      .addOption(new Option('--stream', 'request streamed answers from providers').default(true))
      .option('-q, --quiet', 'print the answer only')
      .addOption(databaseOption())
      .addOption(jsonOption()),
  async run(context, options, name, prompt) {
    const flags = { ...toFlags(options), ...(options.simulate && { simulator: true }) }
    const { agents } = await context.services.loadConfig(flags)
    const source = { set: options.set, model: options.model, maxCostUsd: options.maxCost }
    // Problems of the definition are reported before the database is opened.
    const { definition, metadata, find } = await loadDefinition(name, source, await context.services.createParser(agents))
    const input = await readPrompt(prompt, definition.name)
    if (input === undefined && definition.input === undefined && options.thread === undefined) {
      throw new OrchestratorError('FLOW_INPUT_MISSING', `expected a prompt for "${definition.name}", found none`)
    }
    await withRunningServices(context, flags, async (open) => {
      const { prepareRun } = await import('../questions/sharing.ts')
      await prepareRun(context, open, definition, { userId: LOCAL_USER, allowSharing: options.allowSharing ?? false, find })
      const threadId = options.thread ?? (await createThread(open, input ?? definition.name))
      const flow = await open.orchestrator.createFlow(threadId, LOCAL_USER, definition)
      const { quiet, stream: streaming } = options
      const execution = { flowId: flow.id, userId: LOCAL_USER, title: flow.name, quiet, input, metadata, streaming }
      showResult(context, await runFlow(context, open, execution), { quiet })
    })
  },
})

/** The prompt from the argument, or from standard input for `-`. Rejects with FLOW_INPUT_MISSING for a blank one. */
async function readPrompt(prompt: string | undefined, flowName: string): Promise<string | undefined> {
  const input = prompt === '-' ? await readStdin() : prompt
  if (input === undefined || !isBlank(input)) return input
  const where = prompt === '-' ? 'on standard input' : 'as the argument'
  throw new OrchestratorError('FLOW_INPUT_MISSING', `expected a prompt for "${flowName}" ${where}, found only blank characters`)
}

/** A new thread has the beginning of the prompt as its title, at most this many characters. */
const TITLE_LENGTH = 80

async function createThread({ conversations }: OpenServices, title: string): Promise<string> {
  const { id } = await conversations.createThread(LOCAL_USER, { title: title.slice(0, TITLE_LENGTH) })
  return id
}

async function readStdin(): Promise<string> {
  const { buffer } = await import('node:stream/consumers')
  return decodeText(await buffer(process.stdin), { name: 'standard input', code: 'INPUT_INVALID' })
}
