import { McpServer } from '@modelcontextprotocol/server'
import { StdioServerTransport, serveStdio } from '@modelcontextprotocol/server/stdio'
import * as z from 'zod'

/** What the tests see of the server. */
export interface Seen {
  readonly calls: string[]
  /** Receives the signal of each call that waits. */
  readonly onWait?: (signal: AbortSignal) => void
}

const PIXEL = Buffer.from([0x89, 0x50, 0x4e, 0x47]).toString('base64')

/** A server with tools that answer in every way that the protocol knows. */
export function createTestMcpServer({ calls, onWait }: Seen): McpServer {
  const server = new McpServer({ name: 'test', version: '1' }, { capabilities: { tools: { listChanged: true } } })
  const text = (content: string) => ({ content: [{ type: 'text' as const, text: content }] })
  server.registerTool(
    'echo',
    { description: 'Repeats a text', inputSchema: z.object({ text: z.string() }), annotations: { readOnlyHint: true } },
    ({ text: given }) => {
      calls.push(given)
      return text(given)
    },
  )
  server.registerTool(
    'sum',
    { inputSchema: z.object({ numbers: z.array(z.number()) }), outputSchema: z.object({ total: z.number() }) },
    ({ numbers }) => {
      const total = numbers.reduce((sum, number) => sum + number, 0)
      return { ...text(JSON.stringify({ total })), structuredContent: { total } }
    },
  )
  server.registerTool('picture', { inputSchema: z.object({}) }, () => ({
    content: [
      { type: 'image', data: PIXEL, mimeType: 'image/png' },
      { type: 'audio', data: PIXEL, mimeType: 'audio/wav' },
      { type: 'resource', resource: { uri: 'file:///a/notes.txt', text: 'notes', mimeType: 'text/plain' } },
      { type: 'resource', resource: { uri: 'file:///a/data.bin', blob: PIXEL } },
      { type: 'resource_link', uri: 'https://example.com/x', name: 'x' },
    ],
  }))
  server.registerTool('fail', { inputSchema: z.object({}) }, () => {
    calls.push('fail')
    return { ...text('the shop is closed'), isError: true }
  })
  server.registerTool('wait', { inputSchema: z.object({}) }, (_, context) => {
    onWait?.(context.mcpReq.signal)
    return new Promise<ReturnType<typeof text>>(() => {})
  })
  server.registerTool('pid', { inputSchema: z.object({}) }, () =>
    text(JSON.stringify({ pid: process.pid, names: Object.keys(process.env) })),
  )
  server.registerTool('die', { inputSchema: z.object({}) }, () => process.exit(3))
  return server
}

if (process.argv[1] === import.meta.filename || process.argv[2] === 'serve') {
  serveStdio(() => createTestMcpServer({ calls: [] }), { transport: new StdioServerTransport() })
}
