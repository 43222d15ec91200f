import { type Command, InvalidArgumentError, Option, type OptionValues } from 'commander'
import type { CommandContext } from './services.ts'

/** Creates the context of a command; `json` states whether the command line has `--json`. */
export type CreateContext = (json: boolean) => CommandContext

/** Commands of two words: the first word, with its description in `polyphony --help`. */
export const COMMAND_GROUPS = {
  flows: 'stored flows: list, show, cancel, resume, rerun, waiting, approve, reject, signal-event',
  services: 'services of the server: list, show, start, stop, restart, logs, check, reload, run',
  keys: 'API keys of the server: create, list, revoke',
} as const

/** One command, as the registry lists it. */
export interface CliCommand {
  /** Adds the command to the program, or to its group there. */
  register(program: Command, createContext: CreateContext): void
}

interface CommandPlan<Options extends OptionValues> {
  readonly group?: keyof typeof COMMAND_GROUPS
  readonly name: string
  readonly description: string
  /** Adds arguments and options. */
  readonly configure: (command: Command) => Command
  /**
   * Runs the command with its options and its positional arguments; the program waits for it. A rejection is reported
   * and becomes the exit code. Must load expensive modules by dynamic import, because the file of every command is
   * loaded at each start of the program.
   */
  readonly run: (context: CommandContext, options: Options, first: string, second: string | undefined) => Promise<void>
}

/**
 * Defines a command: its words, its options and its behaviour.
 *
 * ```ts
 * import { databaseOption, defineCommand } from './command.ts'
 * import { type DatabaseOptions, toFlags } from './services.ts'
 *
 * export const portCommand = defineCommand<DatabaseOptions>({
 *   name: 'port',
 *   description: 'print the port of the server',
 *   configure: (command) => command.addOption(databaseOption()),
 *   async run({ services, terminal }, options) {
 *     const { server } = await services.loadConfig(toFlags(options))
 *     terminal.print(String(server.port))
 *   },
 * })
 * ```
 */
export const defineCommand = <Options extends OptionValues>(plan: CommandPlan<Options>): CliCommand => ({
  register(program, createContext) {
    const parent = plan.group === undefined ? program : groupOf(program, plan.group)
    const command = plan.configure(parent.command(plan.name).description(plan.description))
    command.action(() => {
      const { json } = command.opts<{ readonly json?: boolean }>()
      const [first, second] = command.processedArgs
      return plan.run(createContext(json ?? false), command.opts<Options>(), first, second)
    })
  },
})

const groupOf = (program: Command, name: keyof typeof COMMAND_GROUPS): Command =>
  program.commands.find((command) => command.name() === name) ?? program.command(name).description(COMMAND_GROUPS[name])

export const jsonOption = () => new Option('--json', 'one JSON object per line, nothing else on standard output')
export const databaseOption = () => new Option('--database <url>', 'pglite://<directory>, postgres://… or memory://')
export const simulateOption = () => new Option('--simulate', 'answer with the bundled simulator instead of real models')
export const registerOption = () =>
  new Option('--register <module>', 'module whose default export registers definitions with functions')
export const hostOption = () =>
  new Option('--host <address>', 'address to listen on; one that other machines can reach needs API keys')
export const portOption = () => new Option('--port <number>', 'port to listen on; 0 for any free port').argParser(parsePort)
export const timeoutOption = (description: string, defaultMs: number) =>
  new Option('--timeout <ms>', description).argParser(parseCount).default(defaultMs)
export const modelOption = () => new Option('--model <provider/model>', 'use this model for every step')
export const allowSharingOption = () =>
  new Option('--allow-sharing', 'allow the sharing between providers that the flow needs, for this and later runs')
export const setOption = (description: string) =>
  new Option('--set <key=value>', `${description}; repeatable`).argParser(collectWords)
export const dataOption = (description: string) => new Option('--data <json>', description).argParser(parseJson)
export const maxCostOption = (subject: string) =>
  new Option('--max-cost <usd>', `maximum cost of ${subject} in US dollars`).argParser(parseUsd)

/** The values of an option that may be given several times. */
export const collectWords = (value: string, before: readonly string[] = []): readonly string[] => [...before, value]

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new InvalidArgumentError('expected JSON.')
  }
}

function parseUsd(value: string): number {
  const costUsd = Number(value)
  if (value.trim() === '' || !(costUsd >= 0)) throw new InvalidArgumentError('expected an amount in US dollars.')
  return costUsd
}

export function parsePort(value: string): number {
  const port = Number(value)
  if (value.trim() === '' || !Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new InvalidArgumentError('expected 0 to 65535.')
  }
  return port
}

/** A whole number from 1. */
export function parseCount(value: string): number {
  const count = Number(value)
  if (!/^\d+$/.test(value) || count < 1) throw new InvalidArgumentError('expected a whole number from 1.')
  return count
}
