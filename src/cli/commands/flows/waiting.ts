import type { WaitingStep } from '../../../orchestrator/waiting/waiting-list.ts'
import { databaseOption, defineCommand, jsonOption } from '../../command.ts'
import { toMinute, toPlainLine, toTable, truncate } from '../../plain-text.ts'
import { type DatabaseOptions, LOCAL_USER, type OpenServices, toFlags, withServices } from '../../services.ts'

interface WaitingOptions extends DatabaseOptions {
  readonly flow?: string
}

/** `polyphony flows waiting`. */
export const waitingCommand = defineCommand<WaitingOptions>({
  group: 'flows',
  name: 'waiting',
  description: 'list the steps that wait for a decision, a time or an event',
  configure: (command) =>
    command.option('--flow <id>', 'only steps of this flow').addOption(databaseOption()).addOption(jsonOption()),
  async run({ terminal, json, ...context }, options) {
    const read = ({ orchestrator }: OpenServices) => orchestrator.listWaiting(LOCAL_USER, { flowId: options.flow, limit: 1_000 })
    const waiting = await withServices({ terminal, json, ...context }, toFlags(options), read)
    if (json) return waiting.forEach(terminal.printJson)
    if (waiting.length === 0) return terminal.print('Nothing waits.')
    const [head = '', ...lines] = toTable([['FLOW', 'STEP', 'SINCE', 'UNTIL', 'WAITS FOR'], ...waiting.map(toRow)])
    terminal.print(terminal.style('dim', head))
    for (const line of lines) terminal.print(terminal.isLive ? truncate(line, terminal.columns) : line)
  },
})

const toRow = ({ flowId, path, since, deadline, kind, event, prompt, mayAnswer }: WaitingStep): readonly string[] => [
  flowId,
  toPlainLine(path),
  toMinute(since),
  deadline ? toMinute(deadline) : '',
  kind === 'wait' ? (event === undefined ? 'a time' : `event ${toPlainLine(event)}`) : toQuestion(prompt, mayAnswer),
]

const toQuestion = (prompt = '', mayAnswer: boolean): string => `${mayAnswer ? '' : '(somebody else) '}${toPlainLine(prompt)}`
