import type { Scope } from '../../domain/users/api-key.ts'
import { type ApiKey, isUsableKey } from '../../domain/users/api-key.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { toPlainLine, toTable, truncate } from '../plain-text.ts'
import { type CommandContext, type DatabaseOptions, LOCAL_USER, type OpenServices, toFlags, withServices } from '../services.ts'

export interface CreateKeyOptions extends DatabaseOptions {
  readonly user?: string
  readonly name?: string
  readonly scope?: readonly Scope[]
  readonly expires?: Date
}

export interface ListKeysOptions extends DatabaseOptions {
  readonly user?: string
}

/** `polyphony keys create`. The token leaves here and is kept nowhere. */
export async function createKeyCommand(context: CommandContext, options: CreateKeyOptions): Promise<void> {
  const { user = LOCAL_USER, name, scope: scopes, expires: expiresAt } = options
  const { key, token } = await withServices(context, toFlags(options), ({ apiKeys, config }) => {
    requireDatabaseThatStays(config)
    return apiKeys.create(user, { name, scopes, expiresAt })
  })
  const { terminal, json } = context
  if (json) return terminal.printJson({ ...key, token })
  terminal.print(token)
  terminal.print(
    terminal.style('dim', 'This is shown once: only a hash of it is kept. Send it as `Authorization: Bearer <key>`.'),
  )
  const facts = [
    ['key', key.id],
    ['user', toPlainLine(key.userId)],
    ...(key.name === '' ? [] : [['name', toPlainLine(key.name)]]),
    ['may', key.scopes.join(', ')],
    ['expires', key.expiresAt ? toMinute(key.expiresAt) : 'never'],
  ]
  for (const line of toTable(facts)) terminal.print(line)
}

/** `polyphony keys list`: of one user, or of all. */
export async function listKeysCommand(context: CommandContext, options: ListKeysOptions): Promise<void> {
  const keys = await withServices(context, toFlags(options), ({ apiKeys }) => apiKeys.list(options.user))
  const { terminal, json } = context
  if (json) return keys.forEach(terminal.printJson)
  if (keys.length === 0) return terminal.print('No keys yet: polyphony keys create makes one.')
  const now = new Date()
  const head = ['KEY', 'STATE', 'USER', 'NAME', 'MAY', 'CREATED', 'EXPIRES', 'LAST USED']
  const [first = '', ...lines] = toTable([head, ...keys.map((key) => toListRow(key, now))])
  terminal.print(terminal.style('dim', first))
  for (const line of lines) terminal.print(terminal.isLive ? truncate(line, terminal.columns) : line)
}

/** `polyphony keys revoke <id>`. */
export async function revokeKeyCommand(context: CommandContext, id: string, options: DatabaseOptions): Promise<void> {
  const key = await withServices(context, toFlags(options), ({ apiKeys }) => apiKeys.revoke(id))
  if (context.json) return context.terminal.printJson(key)
  context.terminal.print(`${key.id} is revoked`)
}

function requireDatabaseThatStays({ database }: OpenServices['config']): void {
  if (typeof database !== 'string' || !/^memory:|^pglite:\/\/memory$/.test(database)) return
  throw new OrchestratorError('INPUT_INVALID', '--database: expected one that outlives this command, found one in memory')
}

const toListRow = (key: ApiKey, now: Date): readonly string[] => [
  key.id,
  key.revokedAt ? 'revoked' : isUsableKey(key, now) ? 'usable' : 'expired',
  toPlainLine(key.userId),
  toPlainLine(key.name),
  key.scopes.join(' '),
  toMinute(key.createdAt),
  key.expiresAt ? toMinute(key.expiresAt) : 'never',
  key.lastUsedAt ? toMinute(key.lastUsedAt) : 'never',
]

const toMinute = (instant: Date): string => instant.toISOString().slice(0, 16).replace('T', ' ')
