import { once } from 'node:events'
import type { PolyphonyConfigInput } from '../../config/config.ts'
import { type CommandContext, type DatabaseOptions, toFlags } from '../services.ts'

export interface ServeOptions extends DatabaseOptions {
  readonly host?: string
  readonly port?: number
  readonly simulate?: boolean
}

/** `polyphony serve`: answers until it is asked to end. */
export async function serveCommand({ house, terminal, json }: CommandContext, options: ServeOptions): Promise<void> {
  const { host, port, simulate } = options
  const flags: PolyphonyConfigInput = {
    ...toFlags(options),
    ...(simulate ? { simulator: true } : {}),
    server: { ...(host === undefined ? {} : { host }), ...(port === undefined ? {} : { port }) },
  }
  const stop = new AbortController()
  const end = () => stop.abort()
  const signals = ['SIGINT', 'SIGTERM'] as const
  for (const signal of signals) process.on(signal, end)
  try {
    const server = await house.serve(flags)
    if (json) terminal.printJson({ type: 'listening', url: server.url, open: server.isOpen })
    else tellWhere(terminal.print, server)
    if (!stop.signal.aborted) await once(stop.signal, 'abort')
    if (!json) terminal.print('Closing: running flows get a moment, the rest goes on with the next start.')
    await server.close()
  } finally {
    for (const signal of signals) process.off(signal, end)
  }
}

function tellWhere(print: (line: string) => void, { url, isOpen }: { readonly url: string; readonly isOpen: boolean }): void {
  print(`Polyphony answers at ${url}`)
  print(`  ${url}/docs      every endpoint, to try out`)
  print(`  ${url}/api/v1    flows over HTTP; WebSocket at /ws`)
  print(`  ${url}/v1        flows as models, for any OpenAI client`)
  print(`  ${url}/mcp       flows as tools, for any MCP client`)
  if (isOpen) print('There are no keys yet: who uses this machine is the user "local". Make one with `polyphony keys create`.')
}
