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
import { toPlainLine } from '../plain-text.ts'
import { runFlow, showResult } from '../run-flow.ts'
import {
  type CommandContext,
  type DatabaseOptions,
  LOCAL_USER,
  type OpenServices,
  toFlags,
  withRunningServices,
} from '../services.ts'

interface RunOptions extends DatabaseOptions {
  readonly model?: string
  readonly set?: readonly string[]
  readonly allowSharing?: boolean
  readonly simulate?: boolean
  readonly stream: boolean
  readonly maxCost?: number
  readonly thread?: string
  readonly attach: readonly string[]
  readonly quiet?: boolean
  readonly record?: string
  readonly replay?: string
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
      .option('--attach <file>', 'attach an image, a PDF, audio or a text; may be repeated', collect, [])
      .addOption(new Option('--record <directory>', 'keep all requests and answers there, without secrets').conflicts('replay'))
      .addOption(new Option('--replay <directory>', 'answer from a recording, without keys; nothing is sent or paid'))
      .option('--thread <id>', 'run in this thread instead of a new one')
      .option('--no-stream', 'request complete answers from providers')
      .addOption(new Option('--stream', 'request streamed answers from providers').default(true))
      .option('-q, --quiet', 'print the answer only')
      .addOption(databaseOption())
      .addOption(jsonOption()),
  async run(context, options, name, prompt) {
    const { record, replay } = options
    const flags = {
      // The costs of a replay are not spent again, so they do not belong among those of a database that is kept.
      ...(replay !== undefined && { replay, database: 'memory://' }),
      ...toFlags(options),
      ...(options.simulate && { simulator: true }),
      ...(record !== undefined && { record }),
    }
    const config = await context.services.loadConfig(flags)
    const source = { set: options.set, model: options.model, maxCostUsd: options.maxCost }
    // Problems of the definition are reported before the database is opened.
    const { definition, metadata, find } = await loadDefinition(name, source, await context.services.createParser(config))
    const input = await readPrompt(prompt, definition.name)
    if (input === undefined && definition.input === undefined && options.thread === undefined) {
      throw new OrchestratorError('FLOW_INPUT_MISSING', `expected a prompt for "${definition.name}", found none`)
    }
    const { readAttachments } = await import('../questions/attachments.ts')
    const attachments = await readAttachments(options.attach)
    await withRunningServices(context, flags, async (open) => {
      const { prepareRun } = await import('../questions/sharing.ts')
      // A replay sends nothing to any provider, so it needs no consent, and a database in memory has none.
      const allowSharing = options.allowSharing ?? replay !== undefined
      await prepareRun(context, open, definition, { userId: LOCAL_USER, allowSharing, files: attachments.length > 0, find })
      showRecording(context, options)
      const threadId = options.thread ?? (await createThread(open, input ?? definition.name))
      const flow = await open.orchestrator.createFlow(threadId, LOCAL_USER, definition)
      const { quiet, stream: streaming } = options
      const given = { input, metadata, streaming, ...(attachments.length > 0 && { attachments }) }
      const execution = { flowId: flow.id, userId: LOCAL_USER, title: flow.name, quiet, ...given }
      showResult(context, await runFlow(context, open, execution), { quiet })
    })
  },
})

const collect = (path: string, paths: readonly string[]): readonly string[] => [...paths, path]

/** Says where answers come from or go to, because a replay must not be taken for a new answer of a model. */
function showRecording({ terminal, json }: CommandContext, { record, replay, quiet }: RunOptions): void {
  if (record !== undefined) terminal.warn(`Recording all requests and answers to ${toPlainLine(record)}.`)
  if (replay === undefined) return
  const { style } = terminal
  const text = `${toPlainLine(replay)} answers; nothing is sent or paid, and costs are those of the recording.`
  if (json || quiet) terminal.warn(`REPLAYED: ${text}`)
  else terminal.print(`${style(['black', 'bgYellow'], ' REPLAYED ')} ${text}\n`)
}

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
