import { StdioServerTransport, serveStdio } from '@modelcontextprotocol/server/stdio'
import { LOCAL_CALLER } from '../access/caller.ts'
import { readFrames } from './read-frames.ts'
import { createToolServer } from './tool-server.ts'
import type { ToolDeps } from './tools/tool.ts'

export interface StdioOptions {
  /** Opens the services that tools use. Called by every tool call; a rejection is the error of the call. */
  readonly open: () => Promise<ToolDeps>
  /** Version of Polyphony, as the client receives it. */
  readonly version: string
  /** Aborted to stop serving. */
  readonly signal: AbortSignal
  /** Receives lines for people. Only the protocol may write to stdout. */
  readonly warn: (text: string) => void
}

/**
 * Flows as tools over stdin and stdout, for the local user. Resolves when the client has closed its end or the signal
 * was aborted. The services stay open.
 */
export async function serveToolsOverStdio({ open, version, signal, warn }: StdioOptions): Promise<void> {
  const clientGone = new AbortController()
  const onBug = (thrown: unknown) => warn(thrown instanceof Error ? String(thrown.stack) : String(thrown))
  const createServer = () =>
    createToolServer({
      open,
      version,
      caller: LOCAL_CALLER,
      clientGone: clientGone.signal,
      respondNow: signal,
      isCurrent: async () => true,
      onBug,
    })
  const transport = new StdioServerTransport(readFrames(process.stdin, process.stdout, warn), process.stdout)
  // The text of the error may quote the message, so it is not written to the log.
  const onerror = () => warn('A message was refused because it does not conform to the protocol.')
  const handle = serveStdio(createServer, { transport, onerror })
  await new Promise<void>((resolve) => {
    const { onclose } = transport
    transport.onclose = () => {
      onclose?.()
      resolve()
    }
    const close = () => void handle.close().finally(resolve)
    if (signal.aborted) close()
    else signal.addEventListener('abort', close)
  })
  process.stdin.unpipe()
  process.stdin.pause()
  clientGone.abort()
}
