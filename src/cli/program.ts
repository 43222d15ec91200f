import { Command, InvalidArgumentError, Option } from 'commander'
import { readVersion } from '../config/version.ts'
import { SCOPES } from '../domain/users/api-key.ts'
import type { CommandContext } from './services.ts'

/** Makes the context of a command from its `--json`. */
export type CreateContext = (json: boolean) => CommandContext

interface CommonOptions {
  readonly json?: boolean
}

/** The commands with their options; what a command does is loaded when it runs. */
export function createProgram(createContext: CreateContext): Command {
  const contextOf = ({ json }: CommonOptions) => createContext(json ?? false)
  const program = new Command('polyphony')
    .description(
      'Several models generate, criticise, refine, vote, agree and route under one durable, policy-checked, priced run.',
    )
    .version(readVersion())
    .showSuggestionAfterError()
    .exitOverride()
    // Errors are told in one place, in the form of all others.
    .configureOutput({ outputError: () => {} })

  program
    .command('demo')
    .description('run the critique template with the bundled simulator: no key, no question')
    .addOption(database())
    .addOption(json())
    .action(async (options) => (await import('./commands/demo.ts')).demoCommand(contextOf(options), options))

  program
    .command('run')
    .description('run a template or a definition file')
    .argument('<template|file>', 'name of a template, or a .yaml, .yml or .json file')
    .argument('[prompt]', 'what is asked; "-" reads it from standard input')
    .option('--model <provider/model>', 'this model for every step')
    .option('--set <key=value>', 'parameter of a template, or {{ metadata.key }} of a file; repeatable', collect)
    .option('--allow-sharing', 'allow the sharing between providers that the flow needs, for this and later runs')
    .option('--simulate', 'let the bundled simulator answer')
    .option('--max-cost <usd>', 'most that the run may cost, in US dollars', parseUsd)
    .option('--thread <id>', 'run in this thread instead of a new one')
    .option('--no-stream', 'ask providers for whole answers')
    .addOption(new Option('--stream', 'ask providers for streams').default(true))
    .option('-q, --quiet', 'print the answer only')
    .addOption(database())
    .addOption(json())
    .action(async (name, prompt, options) =>
      (await import('./commands/run.ts')).runCommand(contextOf(options), name, prompt, options),
    )

  addFlowCommands(program, contextOf)
  addKeyCommands(program, contextOf)

  program
    .command('serve')
    .description('answer over HTTP and WebSocket, as models and as tools, until it is ended')
    .option('--host <address>', 'address to listen at; others than this machine need keys')
    .option('--port <number>', 'port to listen at; 0 for any', parsePort)
    .option('--simulate', 'let the bundled simulator answer')
    .addOption(database())
    .addOption(json())
    .action(async (options) => (await import('./commands/serve.ts')).serveCommand(contextOf(options), options))

  program
    .command('templates')
    .description('list the templates, or show one with its parameters')
    .argument('[name]')
    .addOption(json())
    .action(async (name, options) => (await import('./commands/templates.ts')).templatesCommand(contextOf(options), name))

  program
    .command('check')
    .description('find what would stop or surprise a run, and what it may cost; calls nobody')
    .argument('<template|file>')
    .option('--model <provider/model>', 'this model for every step')
    .option('--set <key=value>', 'parameter of a template; repeatable', collect)
    .option('--simulate', 'as the bundled simulator would answer')
    .option('--max-cost <usd>', 'most that the run may cost, in US dollars', parseUsd)
    .addOption(json())
    .action(async (name, options) => (await import('./commands/check.ts')).checkCommand(contextOf(options), name, options))

  program
    .command('schema')
    .description('print the JSON Schema of a definition')
    .option('--config', 'the schema of polyphony.yaml')
    .action(async (options) => (await import('./commands/schema.ts')).schemaCommand(contextOf({}), options))

  program
    .command('doctor')
    .description('check this machine: Node.js, configuration, database, providers, tokenizers, prices')
    .option('--offline', 'ask no provider')
    .addOption(database())
    .addOption(json())
    .action(async (options) => (await import('./commands/doctor.ts')).doctorCommand(contextOf(options), options))

  program
    .command('mcp')
    .description('flows as tools for an MCP client that starts this program (stdin and stdout)')
    .option('--simulate', 'let the bundled simulator answer')
    .addOption(database())
    .action(async (options) =>
      (await import('./commands/mcp.ts')).mcpCommand(contextOf({}), { ...options, version: program.version() ?? 'unknown' }),
    )

  program
    .command('migrate')
    .description('bring the database up to date')
    .addOption(database())
    .addOption(json())
    .action(async (options) => (await import('./commands/migrate.ts')).migrateCommand(contextOf(options), options))

  return program
}

function addFlowCommands(program: Command, contextOf: (options: CommonOptions) => CommandContext): void {
  const flows = program.command('flows').description('stored flows: list, show, cancel, resume, rerun')
  flows
    .command('list')
    .description('newest first')
    .option('--limit <count>', 'most flows that are shown', parseCount, 20)
    .option('--status <status>', 'only flows with this status')
    .option('--thread <id>', 'only flows of this thread')
    .addOption(database())
    .addOption(json())
    .action(async (options) => (await import('./commands/flows.ts')).listCommand(contextOf(options), options))
  flows
    .command('show')
    .description('steps, tries, cost, what was withheld, and the error')
    .argument('<id>')
    .addOption(database())
    .addOption(json())
    .action(async (id, options) => (await import('./commands/flows.ts')).showCommand(contextOf(options), id, options))
  flows
    .command('cancel')
    .description('cancel a flow that has not ended')
    .argument('<id>')
    .addOption(database())
    .addOption(json())
    .action(async (id, options) => (await import('./commands/flows.ts')).cancelCommand(contextOf(options), id, options))
  flows
    .command('resume')
    .description('run a failed, cancelled or interrupted flow to its end; recorded steps are not paid twice')
    .argument('<id>')
    .option('--max-cost <usd>', 'most that all runs of the flow may cost, in US dollars', parseUsd)
    .option('--allow-sharing', 'allow the sharing between providers that the flow needs, for this and later runs')
    .option('--simulate', 'let the bundled simulator answer')
    .addOption(database())
    .addOption(json())
    .action(async (id, options) => (await import('./commands/rerun.ts')).resumeCommand(contextOf(options), id, options))
  flows
    .command('rerun')
    .description('run the definition of a flow as a new flow')
    .argument('<id>')
    .option('--from <step>', 'carry over the results of the steps before this one')
    .option('--input <text>', 'another prompt')
    .option('--allow-sharing', 'allow the sharing between providers that the flow needs, for this and later runs')
    .option('--simulate', 'let the bundled simulator answer')
    .addOption(database())
    .addOption(json())
    .action(async (id, options) => (await import('./commands/rerun.ts')).rerunCommand(contextOf(options), id, options))
}

function addKeyCommands(program: Command, contextOf: (options: CommonOptions) => CommandContext): void {
  const keys = program.command('keys').description('API keys of the server: create, list, revoke')
  keys
    .command('create')
    .description('make a key and show it once')
    .option('--user <id>', 'whom the key stands for; default: the local user')
    .option('--name <text>', 'what it is for, to tell it from others')
    .addOption(new Option('--scope <scope...>', 'what it may do; default: all but metrics').choices(SCOPES))
    .option('--expires <days|date>', 'when it ends: so many days from now, or a date (of UTC); default: never', parseExpiry)
    .addOption(database())
    .addOption(json())
    .action(async (options) => (await import('./commands/keys.ts')).createKeyCommand(contextOf(options), options))
  keys
    .command('list')
    .description('newest first, revoked and expired ones too')
    .option('--user <id>', 'only keys of this user')
    .addOption(database())
    .addOption(json())
    .action(async (options) => (await import('./commands/keys.ts')).listKeysCommand(contextOf(options), options))
  keys
    .command('revoke')
    .description('refuse a key from now on')
    .argument('<id>')
    .addOption(database())
    .addOption(json())
    .action(async (id, options) => (await import('./commands/keys.ts')).revokeKeyCommand(contextOf(options), id, options))
}

const json = () => new Option('--json', 'one JSON object per line, nothing else on standard output')
const database = () => new Option('--database <url>', 'pglite://<directory>, postgres://… or memory://')

const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value]

function parseUsd(value: string): number {
  const costUsd = Number(value)
  if (value.trim() === '' || !(costUsd >= 0)) throw new InvalidArgumentError('expected an amount in US dollars.')
  return costUsd
}

function parseCount(value: string): number {
  const count = Number(value)
  if (!Number.isInteger(count) || count < 1 || count > 1_000) throw new InvalidArgumentError('expected 1 to 1000.')
  return count
}

function parsePort(value: string): number {
  const port = Number(value)
  if (value.trim() === '' || !Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new InvalidArgumentError('expected 0 to 65535.')
  }
  return port
}

const DAY_MS = 86_400_000
const MAX_DAYS = 36_500

function parseExpiry(value: string): Date {
  const expiry = /^\d{1,6}$/.test(value) ? daysFromNow(Number(value)) : toDate(value)
  if (expiry && expiry.getTime() > Date.now()) return expiry
  throw new InvalidArgumentError(`expected 1 to ${MAX_DAYS} days, or a date to come such as 2027-01-31.`)
}

const daysFromNow = (days: number): Date | undefined => (days > MAX_DAYS ? undefined : new Date(Date.now() + days * DAY_MS))

function toDate(value: string): Date | undefined {
  const [, day] = /^(\d{4}-\d{2}-\d{2})(T\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2}))?$/.exec(value) ?? []
  // A day that its month does not have would become one of the next month.
  const midnight = new Date(day ?? Number.NaN)
  const isDay = !Number.isNaN(midnight.getTime()) && midnight.toISOString().startsWith(day ?? '?')
  const instant = new Date(value)
  return isDay && !Number.isNaN(instant.getTime()) ? instant : undefined
}
