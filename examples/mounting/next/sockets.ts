import { createServer } from 'node:http'
import { mounted } from './polyphony.ts'

/** Route handlers cannot take over a connection, so WebSockets get a port of their own. */
export async function listen() {
  const { handler, attach } = await mounted()
  const server = createServer(handler)
  attach(server)
  server.listen(Number(process.env.SOCKET_PORT ?? 3001), process.env.HOSTNAME)
}
