import { readVersion } from '../../../config/version.ts'
import { databaseOption, defineCommand, simulateOption } from '../../command.ts'
import { type DatabaseOptions, type OpenServices, toFlags } from '../../services.ts'

interface McpOptions extends DatabaseOptions {
  readonly simulate?: boolean
}

/**
 * `polyphony mcp`: serves one MCP client, which starts this program, as the local user. The database is opened by the
 * first tool call, because some clients start servers only to list their tools, and an embedded database belongs to one
 * process at a time.
 */
export const mcpCommand = defineCommand<McpOptions>({
  name: 'mcp',
  description: 'serve flows as tools to an MCP client that starts this program (stdin and stdout)',
  configure: (command) => command.addOption(simulateOption()).addOption(databaseOption()),
  async run({ services, terminal }, { simulate, ...options }) {
    const ending = new AbortController()
    const end = () => {
      if (ending.signal.aborted) process.exit(130)
      ending.abort()
    }
    process.on('SIGINT', end).on('SIGTERM', end)
    let opened: Promise<OpenServices> | undefined
    const flags = { ...toFlags(options), ...(simulate && { simulator: true }) }
    const openOnce = () => {
      opened ??= services.open(flags).catch((error) => {
        // Another process may hold the database only briefly: the next call opens it again.
        opened = undefined
        throw error
      })
      return opened
    }
    try {
      const serving = { open: openOnce, version: readVersion(), signal: ending.signal, warn: terminal.warn }
      await services.serveTools(serving)
    } finally {
      const open = await opened?.catch(() => undefined)
      await open?.close()
    }
  },
})
