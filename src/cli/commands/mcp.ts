import { type CommandContext, type DatabaseOptions, type OpenServices, toFlags } from '../services.ts'

export interface McpOptions extends DatabaseOptions {
  readonly version: string
  readonly simulate?: boolean
}

/**
 * `polyphony mcp`: for a client that starts it, as the local user. The database is opened by the first tool that is called: clients start servers to
 * ask what they can do, and only one process at a time may hold an embedded database.
 */
export async function mcpCommand(
  { house, terminal }: CommandContext,
  { version, simulate, ...options }: McpOptions,
): Promise<void> {
  const ending = new AbortController()
  const end = () => {
    if (ending.signal.aborted) process.exit(130)
    ending.abort()
  }
  process.on('SIGINT', end).on('SIGTERM', end)
  let opened: Promise<OpenServices> | undefined
  const flags = { ...toFlags(options), ...(simulate && { simulator: true }) }
  const openOnce = () => {
    opened ??= house.open(flags).catch((error) => {
      // Another process may hold it for a moment.
      opened = undefined
      throw error
    })
    return opened
  }
  try {
    await house.serveTools({ open: openOnce, version, signal: ending.signal, warn: terminal.warn })
  } finally {
    const open = await opened?.catch(() => undefined)
    await open?.close()
  }
}
