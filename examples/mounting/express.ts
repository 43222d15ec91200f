import { createServer } from 'node:http'
import express from 'express'
import type { Polyphony } from 'polyphony'
import { mountPolyphony } from 'polyphony/server'

/** An app of Express with Polyphony under /polyphony. The caller listens, and closes both in this order. */
export async function createExpressApp(polyphony: Polyphony) {
  const mounted = await mountPolyphony(polyphony, { prefix: '/polyphony' })
  const app = express()
  // Before the body parser, whose own limits and errors would come first otherwise.
  app.use('/polyphony', mounted.handler)
  app.use(express.json())
  app.get('/', (_, response) => void response.send('the app'))

  const server = createServer(app)
  mounted.attach(server)
  return { server, close: () => mounted.close() }
}
