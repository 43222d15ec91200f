import type { Socket } from 'node:net'
import { WebSocket } from 'ws'
import type { PolyphonyConfigInput } from '../../src/config/config.ts'
import { SOCKET_CLOSE } from '../../src/protocol/socket.ts'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { createHttpServer } from '../../src/server/server.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import type { ServerMemory } from './server-process.ts'

const SAMPLE_EVERY_MS = 20

/**
 * `<configuration as JSON>`: a server whose provider `scripted` writes `pieces <count> every <ms> of <characters>`, as the prompt says; with `, in short` its
 * answer is not what it wrote. `without end <ms> of <characters>`: it writes the same piece for longer than any test runs.
 */
const config: PolyphonyConfigInput = JSON.parse(process.argv[2] ?? '{}')

const provider = createScriptedProvider({
  replies: ({ messages }) => {
    const prompt = messages.at(-1)?.content ?? ''
    const [, everyMs, length] = /without end (\d+) of (\d+)/.exec(prompt) ?? []
    if (length !== undefined) {
      const chunks = new Array<string>(1_000_000).fill('.'.repeat(Number(length)))
      return { text: 'short', chunks, delayMs: Number(everyMs) }
    }
    const [, count = '1', delayMs = '0', characters = '0'] = /pieces (\d+) every (\d+) of (\d+)/.exec(prompt) ?? []
    const chunks = Array.from({ length: Number(count) }, (_, index) => `<${index}>`.padEnd(Number(characters), '.'))
    return { text: prompt.endsWith(', in short') ? 'short' : chunks.join(''), chunks, delayMs: Number(delayMs) }
  },
})
const polyphony = await openTestPolyphony({ ...config, providers: { ...config.providers, scripted: provider } })
const server = await createHttpServer(polyphony)
const url = await server.listen()
if (polyphony.config.server.resumeInterrupted) await polyphony.resumeInterrupted()

const sockets = new Set<Socket>()
server.app.server.on('connection', (socket: Socket) => {
  sockets.add(socket)
  socket.once('close', () => sockets.delete(socket))
})
let slowSockets = 0
const { close } = WebSocket.prototype
WebSocket.prototype.close = function (code, reason) {
  if (code === SOCKET_CLOSE.slow.code) slowSockets += 1
  return close.call(this, code, reason)
}
let mostBytes = 0
let mostWaitingBytes = 0
const look = () => {
  mostBytes = Math.max(mostBytes, process.memoryUsage.rss())
  for (const { writableLength } of sockets) mostWaitingBytes = Math.max(mostWaitingBytes, writableLength)
}
setInterval(look, SAMPLE_EVERY_MS)

const memory = (): ServerMemory => {
  look()
  let waitingBytes = 0
  for (const { writableLength } of sockets) waitingBytes += writableLength
  return {
    rssBytes: process.memoryUsage.rss(),
    mostBytes,
    waitingBytes,
    mostWaitingBytes,
    connections: sockets.size,
    slowSockets,
  }
}
process.on('message', (question) => {
  if (question === 'rest') {
    globalThis.gc?.()
    mostBytes = 0
    mostWaitingBytes = 0
  }
  process.send?.({ answer: memory() })
})
// Who started it may be killed without a word.
process.on('disconnect', () => process.exit())
process.send?.({ url })
