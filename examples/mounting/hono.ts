import { createServer, Server } from 'node:http'
import { createAdaptorServer } from '@hono/node-server'
import { getConnInfo } from '@hono/node-server/conninfo'
import { Hono } from 'hono'
import type { Polyphony } from 'polyphony'
import { mountPolyphony } from 'polyphony/server'

/** An app of Hono with Polyphony under /polyphony. The caller listens, and closes both in this order. */
export async function createHonoApp(polyphony: Polyphony) {
  const mounted = await mountPolyphony(polyphony, { prefix: '/polyphony' })
  const app = new Hono()
  app.get('/', (c) => c.text('the app'))
  app.all('/polyphony/*', (c) => mounted.fetch(c.req.raw, { remoteAddress: getConnInfo(c).remote.address }))

  const server = createAdaptorServer({ fetch: app.fetch, createServer })
  if (!(server instanceof Server)) throw new TypeError('expected a server of HTTP/1.1')
  mounted.attach(server)
  return { server, close: () => mounted.close() }
}
