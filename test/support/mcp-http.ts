import { createMcpHandler } from '@modelcontextprotocol/server'
import { createTestMcpServer } from '../providers/mcp-server.ts'
import { createLoopback, type Loopback, type LoopbackRequest } from './loopback.ts'

/** An MCP server over HTTP, with the texts of the calls and the requests that it received. */
export interface McpHttpServer extends Loopback {
  readonly calls: string[]
  readonly requests: LoopbackRequest[]
}

/**
 * The test server over HTTP; the official handler speaks both generations of the protocol. `play`: answers a request in
 * place of the server if it returns true.
 */
export async function serveMcp(
  onWait?: (signal: AbortSignal) => void,
  play: (request: LoopbackRequest) => boolean = () => false,
): Promise<McpHttpServer> {
  const calls: string[] = []
  const requests: LoopbackRequest[] = []
  const handler = createMcpHandler(() => createTestMcpServer({ calls, ...(onWait && { onWait }) }))
  const server = await createLoopback(async (request) => {
    requests.push(request)
    if (play(request)) return undefined
    const { method, headers, text, response } = request
    const gone = new AbortController()
    response.once('close', () => gone.abort())
    const sent = new Request('http://localhost/mcp', {
      method,
      headers: Object.entries(headers).map(([name, value]): [string, string] => [name, String(value)]),
      signal: gone.signal,
      ...(method === 'POST' && { body: text }),
    })
    const answer = await handler.fetch(sent)
    response.writeHead(answer.status, Object.fromEntries(answer.headers))
    if (!answer.body) return response.end()
    for await (const chunk of answer.body) response.write(chunk)
    return response.end()
  })
  return { ...server, calls, requests }
}
