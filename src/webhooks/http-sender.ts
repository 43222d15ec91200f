import { type ClientRequest, Agent as HttpAgent, type IncomingMessage, request as requestHttp } from 'node:http'
import { Agent as HttpsAgent, request as requestHttps } from 'node:https'
import { createPublicLookup, isLiteralHost, type ResolveName } from '../system/public-addresses.ts'
import { signatureHeaders } from './signature.ts'
import type { WebhookAnswer, WebhookMessage, WebhookSender } from './webhook.ts'

const TIMEOUT_MS = 15_000
/** Bytes of an answer that are read, so that its connection can be used again; a longer answer ends the connection. */
const MAX_ANSWER_BYTES = 16_384

export interface WebhookSenderOptions {
  /** Resolves names of hosts. Default: the resolver of the system. */
  readonly resolve?: ResolveName
  /** For the header `User-Agent`. */
  readonly version: string
  /** Milliseconds for one attempt, from the connection to the status of the answer; default 15,000. */
  readonly timeoutMs?: number
}

/**
 * Sends webhooks over HTTP. A host that the configuration names as an IP address or as `localhost` is reached wherever
 * it is, because the operator named it; every other name must resolve to addresses of the public Internet only.
 */
export function createWebhookSender({ resolve, version, timeoutMs = TIMEOUT_MS }: WebhookSenderOptions): WebhookSender {
  const agents = { 'http:': new HttpAgent({ keepAlive: true }), 'https:': new HttpsAgent({ keepAlive: true }) }
  const lookup = createPublicLookup(resolve)

  return {
    send(message: WebhookMessage, signal: AbortSignal): Promise<WebhookAnswer> {
      const url = new URL(message.url)
      const isSecure = url.protocol === 'https:'
      const body = Buffer.from(message.body)
      const options = {
        method: 'POST',
        agent: isSecure ? agents['https:'] : agents['http:'],
        signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
        headers: {
          ...signatureHeaders(message),
          'content-type': 'application/json',
          'content-length': body.length,
          'user-agent': `polyphony/${version}`,
        },
        ...(isLiteralHost(url.hostname) ? {} : { lookup }),
      }
      return new Promise((settle, reject) => {
        const request: ClientRequest = isSecure ? requestHttps(url, options) : requestHttp(url, options)
        request.on('error', reject)
        request.once('response', (response) => {
          discard(response)
          settle({ status: response.statusCode ?? 0, ...retryAfter(response, message.sentAt) })
        })
        request.end(body)
      })
    },
    close() {
      for (const agent of Object.values(agents)) agent.destroy()
    },
  }
}

/** Reads the rest of an answer up to the limit and ignores it, however it ends. */
function discard(response: IncomingMessage): void {
  let bytes = 0
  response.on('error', () => {})
  response.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes > MAX_ANSWER_BYTES) response.destroy()
  })
}

/** `Retry-After` in seconds or as an HTTP date (RFC 9110, 10.2.3). */
function retryAfter({ headers }: IncomingMessage, sentAt: Date): Pick<WebhookAnswer, 'retryAfterMs'> {
  const text = headers['retry-after']?.trim()
  if (!text) return {}
  if (/^\d+$/.test(text)) return { retryAfterMs: Number(text) * 1_000 }
  // Date.parse accepts nearly any text; HTTP dates contain the name of a month.
  const instant = /[A-Za-z]{3}/.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(instant) ? {} : { retryAfterMs: Math.max(0, instant - sentAt.getTime()) }
}
