import { createServer, type IncomingHttpHeaders } from 'node:http'
import { type WebSocket, WebSocketServer } from 'ws'
import { type ClientFrameInput, clientFrame } from '../../src/protocol/socket.ts'
import { listenOnLoopback } from '../support/loopback.ts'
import type { SentUpdate } from './flow-server.ts'
import { problemOf } from './scripted-server.ts'

/** Course of one connection. */
export interface SocketFate {
  /** Frames after which the connection ends. */
  readonly frames?: number
  /** How the connection ends: by a reset, by a close with this code, or by silence. */
  readonly how?: 'reset' | 'silence' | number
}

export interface SeenFrame {
  /** Number of the connection, from 0. */
  readonly connection: number
  readonly frame: ClientFrameInput
}

export interface SocketServer {
  readonly url: string
  /** Frames of clients without pings. A frame that violates the protocol fails the test later. */
  readonly frames: readonly SeenFrame[]
  readonly pings: number
  readonly tickets: number
  /** Headers of all handshakes. */
  readonly handshakes: readonly IncomingHttpHeaders[]
  /** Number of update frames sent so far. */
  readonly sent: number
  readonly openSockets: number
  /** Sets the flows and the course of the next connections; further connections have no failure. Clears all records. */
  play(flows: Readonly<Record<string, readonly SentUpdate[]>>, ...fates: readonly SocketFate[]): void
  /**
   * Replaces the answers to `execute`, `cancel` and `subscribe` by these frames; `undefined` keeps the usual answer.
   */
  answerWith(answer: (frame: ClientFrameInput) => readonly unknown[] | undefined): void
  /** Answers all further requests and handshakes with this status. */
  refuse(status: number | undefined): void
  close(): Promise<void>
}

/** A server on loopback with the WebSocket protocol of Polyphony, which ends connections as a test requires. */
export async function createSocketServer(): Promise<SocketServer> {
  let flows: Readonly<Record<string, readonly SentUpdate[]>> = {}
  let fates: readonly SocketFate[] = []
  let frames: SeenFrame[] = []
  let handshakes: IncomingHttpHeaders[] = []
  let [pings, tickets, sent] = [0, 0, 0]
  let refusal: number | undefined
  let answerOtherwise: (frame: ClientFrameInput) => readonly unknown[] | undefined = () => undefined

  const http = createServer((request, response) => {
    if (refusal !== undefined) {
      const code = refusal === 401 ? 'UNAUTHENTICATED' : 'SERVER_CLOSING'
      response.writeHead(refusal, { 'content-type': 'application/problem+json' })
      response.end(JSON.stringify(problemOf(refusal, code, { retryable: refusal === 503 })))
    } else if (request.method === 'POST' && request.url === '/api/v1/tickets') {
      tickets++
      response.writeHead(201, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ ticket: `t${tickets}`, protocols: ['polyphony.v1', `ticket.t${tickets}`], expiresAt: '' }))
    } else response.writeHead(200).end('{}')
  })
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: () => 'polyphony.v1' })
  http.on('upgrade', (request, socket, head) => {
    handshakes.push(request.headers)
    if (refusal !== undefined || request.url !== '/ws') socket.end(`HTTP/1.1 ${refusal} Refused\r\nconnection: close\r\n\r\n`)
    else sockets.handleUpgrade(request, socket, head, (opened) => converse(opened, handshakes.length - 1))
  })

  function converse(socket: WebSocket, connection: number): void {
    const { frames: left = Number.POSITIVE_INFINITY, how = 'reset' } = fates[connection] ?? {}
    const subscriptions = new Map<string, { stopped: boolean }>()
    let count = 0
    const send = (frame: unknown): void => {
      if (count >= left || socket.readyState !== socket.OPEN) return
      socket.send(JSON.stringify(frame))
      if (++count < left) return
      if (how === 'reset') socket.terminate()
      else if (how !== 'silence') socket.close(how, 'as scripted')
    }
    const follow = async (flowId: string, afterSeq: number, subscription: { stopped: boolean }) => {
      const updates = flows[flowId] ?? []
      for (const update of updates.filter(({ seq }) => seq > afterSeq)) {
        while (socket.bufferedAmount > 100_000) await new Promise((resolve) => setImmediate(resolve))
        await new Promise((resolve) => setImmediate(resolve))
        if (subscription.stopped || socket.readyState !== socket.OPEN) return
        sent++
        send(update)
      }
      subscriptions.delete(flowId)
      send({ type: 'end', flowId, status: 'COMPLETED', lastSeq: updates.length })
    }
    socket.on('message', (data) => {
      const frame = clientFrame.parse(JSON.parse(String(data)))
      if (frame.type === 'ping') {
        pings++
        return send({ type: 'pong' })
      }
      frames.push({ connection, frame })
      const scripted = answerOtherwise(frame)
      if (scripted) {
        for (const answer of scripted) send(answer)
        return
      }
      if (!('flowId' in frame)) return
      const { requestId, flowId } = frame
      if (frame.type === 'subscribe') {
        send({ type: 'subscribed', requestId, flowId, afterSeq: frame.afterSeq })
        const subscription = { stopped: false }
        subscriptions.set(flowId, subscription)
        void follow(flowId, frame.afterSeq, subscription)
      } else if (frame.type === 'unsubscribe') {
        // Like a real server: updates that are already on their way arrive before the answer.
        setImmediate(() => {
          const subscription = subscriptions.get(flowId)
          if (subscription) subscription.stopped = true
          subscriptions.delete(flowId)
          send({ type: 'unsubscribed', requestId, flowId })
        })
      } else {
        send({ type: 'status', requestId, flowId, status: { flowId, status: frame.type === 'cancel' ? 'CANCELLED' : 'RUNNING' } })
      }
    })
  }

  const port = await listenOnLoopback(http)
  return {
    url: `http://127.0.0.1:${port}`,
    get frames() {
      return frames
    },
    get pings() {
      return pings
    },
    get tickets() {
      return tickets
    },
    get handshakes() {
      return handshakes
    },
    get sent() {
      return sent
    },
    get openSockets() {
      return [...sockets.clients].filter(({ readyState }) => readyState === 1).length
    },
    play(given, ...ends) {
      for (const client of sockets.clients) client.terminate()
      flows = given
      fates = ends
      frames = []
      handshakes = []
      pings = tickets = sent = 0
      refusal = undefined
      answerOtherwise = () => undefined
    },
    answerWith(answer) {
      answerOtherwise = answer
    },
    refuse(status) {
      refusal = status
    },
    close() {
      for (const client of sockets.clients) client.terminate()
      http.closeAllConnections()
      return new Promise((resolve) => http.close(() => resolve()))
    },
  }
}
