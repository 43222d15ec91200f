import { send } from '../running-server.ts'
import { createWritingFlow, type ServerProcess, startFlow } from '../server-process.ts'
import { connect } from '../socket-client.ts'

const PING_PAUSE_MS = 10

export interface HealthyClient {
  /** What reached it since the last look, and whether anything of the text so far is missing, twice or out of order. */
  look(): { readonly updates: number; readonly pongs: number; readonly isWhole: boolean }
  /** Resolves when an update and an answer came that were under way after the call. */
  isServed(): Promise<void>
  /** Ends its flow and its connection. */
  leave(): Promise<void>
}

/** A client that follows an endless flow and pings, one question after the other, while others misbehave. */
export async function followBeside({ url }: ServerProcess): Promise<HealthyClient> {
  const flowId = await createWritingFlow(url, { pieces: 100_000, everyMs: 5 })
  const client = await connect(url)
  let text = ''
  let lastSeq = 0
  let isRising = true
  let updates = 0
  let pongs = 0
  let closing: { readonly code: number; readonly reason: string } | undefined
  const ask = () => {
    if (client.socket.readyState === client.socket.OPEN) client.send({ type: 'ping' })
  }
  client.socket.on('message', (message) => {
    const frame = JSON.parse(String(message))
    if (frame.type === 'pong') {
      pongs++
      setTimeout(ask, PING_PAUSE_MS)
    }
    if (typeof frame.seq !== 'number') return
    updates++
    isRising &&= frame.seq > lastSeq
    lastSeq = frame.seq
    if (frame.type === 'step_progress') text += frame.data.delta
  })
  client.send({ type: 'subscribe', flowId })
  await client.next(({ type }) => type === 'subscribed')
  await startFlow(url, flowId)
  ask()
  client.socket.once('close', (code, reason) => {
    closing = { code, reason: String(reason) }
  })
  return {
    look() {
      const pieces = text.match(/<\d+>/g) ?? []
      const isWhole = isRising && pieces.every((piece, index) => piece === `<${index}>`) && pieces.join('') === text
      const looked = { updates, pongs, isWhole }
      updates = 0
      pongs = 0
      return looked
    },
    async isServed() {
      const before = { lastSeq, pongs }
      while (lastSeq === before.lastSeq || pongs === before.pongs) {
        if (closing) throw new Error(`the healthy client was closed: ${closing.code} ${closing.reason}`)
        await Promise.race([new Promise((resolve) => client.socket.once('message', resolve)), client.closed])
      }
    },
    async leave() {
      client.socket.terminate()
      await send(url, 'POST', `/api/v1/flows/${flowId}/cancel`)
    },
  }
}
