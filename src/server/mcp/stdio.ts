import { StdioServerTransport, serveStdio } from '@modelcontextprotocol/server/stdio'
import { LOCAL_CALLER } from '../access/caller.ts'
import { readFrames } from './read-frames.ts'
import { createToolServer } from './tool-server.ts'
import type { ToolDeps } from './tools/tool.ts'

export interface StdioOptions {
  /** Opens what tools work on; asked at every call. A rejection is told to the client as the error of the call. */
  readonly open: () => Promise<ToolDeps>
  /** Told to the client. */
  readonly version: string
  /** Ends the serving. */
  readonly signal: AbortSignal
  /** Takes lines for people; stdout belongs to the protocol. */
  readonly warn: (text: string) => void
}

/** Flows as tools over stdin and stdout, for the local user. Resolves when the client has closed its end, or the signal says so; closes nothing else. */
export async function serveToolsOverStdio({ open, version, signal, warn }: StdioOptions): Promise<void> {
  const gone = new AbortController()
  const onBug = (thrown: unknown) => warn(thrown instanceof Error ? String(thrown.stack) : String(thrown))
  const createServer = () =>
    createToolServer({
      open,
      version,
      caller: LOCAL_CALLER,
      gone: gone.signal,
      enough: signal,
      isCurrent: async () => true,
      onBug,
    })
  const transport = new StdioServerTransport(readFrames(process.stdin, process.stdout, warn), process.stdout)
  // What is wrong with a message is not told: it may quote the message.
  const onerror = () => warn('A message was refused: it does not fit the protocol.')
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
  gone.abort()
}
