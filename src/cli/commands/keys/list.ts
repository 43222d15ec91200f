import { type ApiKey, isUsableKey } from '../../../domain/users/api-key.ts'
import { databaseOption, defineCommand, jsonOption } from '../../command.ts'
import { toMinute, toPlainLine, toTable, truncate } from '../../plain-text.ts'
import { type DatabaseOptions, toFlags, withServices } from '../../services.ts'

interface ListKeysOptions extends DatabaseOptions {
  readonly user?: string
}

/** `polyphony keys list`: the keys of one user, or of all. */
export const listKeysCommand = defineCommand<ListKeysOptions>({
  group: 'keys',
  name: 'list',
  description: 'list keys, newest first, revoked and expired ones included',
  configure: (command) =>
    command.option('--user <id>', 'only keys of this user').addOption(databaseOption()).addOption(jsonOption()),
  async run(context, options) {
    const keys = await withServices(context, toFlags(options), ({ apiKeys }) => apiKeys.list(options.user))
    const { terminal, json } = context
    if (json) return keys.forEach(terminal.printJson)
    if (keys.length === 0) return terminal.print('No keys yet: polyphony keys create creates one.')
    const now = new Date()
    const head = ['KEY', 'STATE', 'USER', 'NAME', 'SCOPES', 'CREATED', 'EXPIRES', 'LAST USED']
    const [first = '', ...lines] = toTable([head, ...keys.map((key) => toListRow(key, now))])
    terminal.print(terminal.style('dim', first))
    for (const line of lines) terminal.print(terminal.isLive ? truncate(line, terminal.columns) : line)
  },
})

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
