import type { ServerResponse } from 'node:http'
import { Webhook } from 'standardwebhooks'
import { createLoopback, type LoopbackRequest } from '../support/loopback.ts'

export const SECRET = `whsec_${Buffer.from('0123456789abcdef0123456789abcdef').toString('base64')}`

/** A message as a receiver got it. */
export interface Received {
  readonly id: string
  readonly request: LoopbackRequest
}

/**
 * A receiver on loopback. `answer` gets each message with its number, from 1; without it every message is answered with
 * 204.
 */
export async function createReceiver(answer: (response: ServerResponse, count: number) => unknown = answerWith(204)) {
  const received: Received[] = []
  const waiting = new Set<() => void>()
  const server = await createLoopback((request) => {
    received.push({ id: String(request.headers['webhook-id']), request })
    answer(request.response, received.length)
    for (const look of waiting) look()
  })
  return {
    url: `${server.url}/hooks`,
    received,
    close: server.close,
    /** Resolves when `count` messages have arrived. */
    arrived: (count: number) =>
      new Promise<void>((resolve) => {
        const look = () => {
          if (received.length < count) return
          waiting.delete(look)
          resolve()
        }
        waiting.add(look)
        look()
      }),
    /** The content of a message, verified by the reference implementation; throws for a wrong signature. */
    verify: (index: number, secret: string): unknown => {
      const { headers, text } = received[index]?.request ?? { headers: {}, text: '' }
      const named = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]))
      return new Webhook(secret).verify(text, named)
    },
  }
}

export type Receiver = Awaited<ReturnType<typeof createReceiver>>

export const answerWith =
  (status: number, headers: Readonly<Record<string, string>> = {}) =>
  (response: ServerResponse): void => {
    response.writeHead(status, headers).end()
  }
