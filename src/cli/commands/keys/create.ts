import { InvalidArgumentError, Option } from 'commander'
import { SCOPES, type Scope } from '../../../domain/users/api-key.ts'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import { databaseOption, defineCommand, jsonOption } from '../../command.ts'
import { toMinute, toPlainLine, toTable } from '../../plain-text.ts'
import { type DatabaseOptions, LOCAL_USER, type OpenServices, toFlags, withServices } from '../../services.ts'

interface CreateKeyOptions extends DatabaseOptions {
  readonly user?: string
  readonly name?: string
  readonly scope?: readonly Scope[]
  readonly expires?: Date
}

/** `polyphony keys create`. Prints the token, which is stored nowhere. */
export const createKeyCommand = defineCommand<CreateKeyOptions>({
  group: 'keys',
  name: 'create',
  description: 'create a key and show it once',
  configure: (command) =>
    command
      .option('--user <id>', 'user that the key authenticates; default: the local user')
      .option('--name <text>', 'purpose of the key, shown in lists')
      .addOption(new Option('--scope <scope...>', 'scopes of the key; default: all but metrics and operate').choices(SCOPES))
      .option('--expires <days|date>', 'expiry: a number of days from now, or a date in UTC; default: never', parseExpiry)
      .addOption(databaseOption())
      .addOption(jsonOption()),
  async run(context, options) {
    const { user = LOCAL_USER, name, scope: scopes, expires: expiresAt } = options
    const { key, token } = await withServices(context, toFlags(options), ({ apiKeys, config }) => {
      assertPersistentDatabase(config)
      return apiKeys.create(user, { name, scopes, expiresAt })
    })
    const { terminal, json } = context
    if (json) return terminal.printJson({ ...key, token })
    terminal.print(token)
    const hint = 'This is shown once: only a hash of it is stored. Send it as `Authorization: Bearer <key>`.'
    terminal.print(terminal.style('dim', hint))
    const facts = [
      ['key', key.id],
      ['user', toPlainLine(key.userId)],
      ...(key.name === '' ? [] : [['name', toPlainLine(key.name)]]),
      ['scopes', key.scopes.join(', ')],
      ['expires', key.expiresAt ? toMinute(key.expiresAt) : 'never'],
    ]
    for (const line of toTable(facts)) terminal.print(line)
  },
})

/** A key in an in-memory database would be lost when this command ends. */
function assertPersistentDatabase({ database }: OpenServices['config']): void {
  if (typeof database !== 'string' || !/^memory:|^pglite:\/\/memory$/.test(database)) return
  throw new OrchestratorError('INPUT_INVALID', '--database: expected a database that outlives this command, found one in memory')
}

const DAY_MS = 86_400_000
const MAX_DAYS = 36_500

function parseExpiry(value: string): Date {
  const expiry = /^\d{1,6}$/.test(value) ? daysFromNow(Number(value)) : toDate(value)
  if (expiry && expiry.getTime() > Date.now()) return expiry
  throw new InvalidArgumentError(`expected 1 to ${MAX_DAYS} days, or a future date such as 2027-01-31.`)
}

const daysFromNow = (days: number): Date | undefined => (days > MAX_DAYS ? undefined : new Date(Date.now() + days * DAY_MS))

function toDate(value: string): Date | undefined {
  const [, day] = /^(\d{4}-\d{2}-\d{2})(T\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2}))?$/.exec(value) ?? []
  // Date turns a day that its month does not have, such as 02-30, into a day of the next month.
  const midnight = new Date(day ?? Number.NaN)
  const isDay = !Number.isNaN(midnight.getTime()) && midnight.toISOString().startsWith(day ?? '?')
  const instant = new Date(value)
  return isDay && !Number.isNaN(instant.getTime()) ? instant : undefined
}
