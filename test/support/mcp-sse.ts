import { randomUUID } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { createLoopback, type Loopback, type LoopbackRequest } from './loopback.ts'

/** A server of the protocol of 2024-11-05 over HTTP and server-sent events. */
export interface McpSseServer extends Loopback {
  /** Texts of the calls of `echo`. */
  readonly calls: string[]
  readonly requests: LoopbackRequest[]
  /** Ends the streams of all sessions, as a server that is started again does. */
  restart(): void
}

const PIXEL = Buffer.from([0x89, 0x50, 0x4e, 0x47]).toString('base64')
const TOOLS = [
  { name: 'echo', description: 'Repeats a text', inputSchema: { type: 'object', properties: { text: { type: 'string' } } } },
  { name: 'picture', inputSchema: { type: 'object' } },
  { name: 'fail', inputSchema: { type: 'object' } },
  { name: 'hang', inputSchema: { type: 'object' } },
]

/**
 * Answers as servers of that generation do (modelcontextprotocol.io/specification/2024-11-05, read 2026-11): a GET opens
 * the stream, whose first event names the address for messages; each POST is answered with 202, and its result comes
 * over the stream. `onHang` is called when the tool `hang` is called. `addressOf`: the address for messages.
 */
export async function serveOldMcp(onHang = () => {}, addressOf = (path: string) => path): Promise<McpSseServer> {
  const calls: string[] = []
  const requests: LoopbackRequest[] = []
  const sessions = new Map<string, ServerResponse>()

  function answer(method: string, given: Readonly<Record<string, unknown>>): object | undefined {
    if (method === 'initialize') {
      return { result: { protocolVersion: '2024-11-05', capabilities: { tools: {} }, serverInfo: { name: 'old', version: '1' } } }
    }
    if (method === 'tools/list') return { result: { tools: TOOLS } }
    if (method !== 'tools/call') return { error: { code: -32601, message: 'Method not found' } }
    if (given.name === 'hang') return void onHang()
    if (given.name === 'picture') return { result: { content: [{ type: 'image', data: PIXEL, mimeType: 'image/png' }] } }
    if (given.name === 'fail') return { result: { content: [{ type: 'text', text: 'the shop is closed' }], isError: true } }
    const text = String(Reflect.get(Object(given.arguments), 'text'))
    calls.push(text)
    return { result: { content: [{ type: 'text', text }] } }
  }

  const server = await createLoopback((request) => {
    requests.push(request)
    const { method, path, body, response } = request
    const { pathname, searchParams } = new URL(path, 'http://localhost')
    if (method === 'GET' && pathname === '/sse') {
      const id = randomUUID()
      sessions.set(id, response)
      response.once('close', () => sessions.delete(id))
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write(`event: endpoint\ndata: ${addressOf(`/messages?sessionId=${id}`)}\n\n`)
      return
    }
    const session = sessions.get(searchParams.get('sessionId') ?? '')
    if (method !== 'POST' || pathname !== '/messages' || !session) return response.writeHead(404).end('no such session')
    response.writeHead(202).end('Accepted')
    const { id, method: called, params } = { id: undefined, method: '', params: {}, ...Object(body) }
    const found = id === undefined ? undefined : answer(called, Object(params))
    if (found) session.write(`event: message\ndata: ${JSON.stringify({ jsonrpc: '2.0', id, ...found })}\n\n`)
    return
  })
  return {
    ...server,
    calls,
    requests,
    restart() {
      for (const session of sessions.values()) session.destroy()
      sessions.clear()
    },
  }
}
