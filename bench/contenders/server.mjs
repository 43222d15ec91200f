// Both sides of the fan-out: the server of the built package with a flow that writes at a fixed rate, and plain `ws`,
// which sends the same bytes to every reader.
import { createServer as createHttpServer } from 'node:http'
import { entryOf } from './polyphony.mjs'

const USER = 'local'
const stampNow = () => String(process.hrtime.bigint() / 1_000n).padStart(16, '0')

const NO_USAGE = { inputTokens: 0, outputTokens: 0, totalTokens: 0, source: 'unknown' }

/** Calls `one` `count` times at a fixed rate per second; a late call does not delay the next. */
function byTheClock(count, perSecond, one) {
  const startMs = performance.now()
  let done = 0
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      while (done < count && performance.now() - startMs >= (done * 1_000) / perSecond) {
        one()
        done++
      }
      if (done < count) return
      clearInterval(timer)
      resolve()
    }, 1)
  })
}

/** A flow that writes chunks at a fixed rate per second, each with the instant at which the provider sent it. */
export async function createPolyphonySide({ piecesPerSecond, sockets = {} }) {
  const { createPolyphony, createScriptedProvider } = await import(entryOf('index'))
  const { createServer } = await import(entryOf('server/main'))
  const pen = createScriptedProvider({ id: 'pen', replies: [] })
  let write
  const polyphony = await createPolyphony({
    database: 'memory://?flows=100',
    server: { port: 0, sockets },
    providers: {
      pen: {
        ...pen,
        async generate(request, { onDelta }) {
          await write(onDelta)
          return { text: 'written', finishReason: 'stop', model: request.model, usage: NO_USAGE, notes: [] }
        },
      },
    },
  })
  const server = await createServer(polyphony)
  const { hostname, port } = new URL(await server.listen())
  const { id: threadId } = await polyphony.conversations.createThread(USER, {})
  const definition = {
    name: 'fan-out',
    type: 'sequential',
    steps: [{ id: 'write', model: 'pen/1', action: 'generate', prompt: 'write' }],
  }
  let flow
  return {
    /** Address and first frame for readers of the next flow, which has not started. */
    async prepare() {
      flow = await polyphony.orchestrator.createFlow(threadId, USER, definition)
      return { host: hostname, port: Number(port), path: '/ws', hello: JSON.stringify({ type: 'subscribe', flowId: flow.id }) }
    },
    /**
     * Resolves when the flow has written all chunks. `before`: larger chunks that are written first, and a callback
     * after them.
     */
    async write(count, before) {
      write = async (onDelta) => {
        if (before) {
          await byTheClock(before.count, piecesPerSecond, () => onDelta(stampNow().padEnd(before.characters, '.')))
          await before.between()
        }
        await byTheClock(count, piecesPerSecond, () => onDelta(stampNow()))
      }
      await polyphony.orchestrator.executeFlow(flow.id, USER, { input: 'go', streaming: true })
    },
    async close() {
      await server.close()
      await polyphony.close()
    },
  }
}

/** Plain `ws`: one text frame of the same bytes per chunk and socket, sent at once. */
export async function createFloorSide({ piecesPerSecond }) {
  const { WebSocketServer } = await import('ws')
  const http = createHttpServer()
  const webSockets = new WebSocketServer({ server: http, perMessageDeflate: false })
  await new Promise((resolve) => http.listen({ port: 0, host: '127.0.0.1', backlog: 1_024 }, resolve))
  const bytesOf = (seq) =>
    Buffer.from(
      JSON.stringify({
        seq,
        flowId: '0198f6a2-7c1d-7e1e-9b7e-0d0f1c2b3a4d',
        type: 'step_progress',
        stepId: 'write',
        data: { delta: stampNow() },
        timestamp: new Date(),
      }),
    )
  return {
    async prepare() {
      return { host: '127.0.0.1', port: http.address().port, path: '/' }
    },
    write(count) {
      let seq = 0
      return byTheClock(count, piecesPerSecond, () => {
        const bytes = bytesOf(++seq)
        for (const client of webSockets.clients) client.send(bytes, { binary: false })
      })
    },
    async close() {
      for (const client of webSockets.clients) client.terminate()
      await new Promise((resolve) => http.close(resolve))
    },
  }
}
