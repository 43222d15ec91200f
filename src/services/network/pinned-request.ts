import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import type { AddressRule } from './address-rule.ts'

export interface PinnedRequestOptions {
  readonly signal: AbortSignal
  /** Default GET. */
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** Bytes that are read at most; the connection is closed at more. */
  readonly maxBytes: number
}

export interface PinnedAnswer {
  readonly status: number
  readonly contentType: string
  readonly text: string
  /** Whether the body was longer than `maxBytes`. */
  readonly cut: boolean
}

export type PinnedRequest = (address: string, options: PinnedRequestOptions) => Promise<PinnedAnswer>

/**
 * Sends one request to an allowed address. Redirects are answers like any other, and the socket connects to the address
 * that was checked. Rejects with SERVICE_ADDRESS_REFUSED, the reason of the signal, or the error of the connection.
 */
export const createPinnedRequest =
  (rule: AddressRule): PinnedRequest =>
  async (address, { signal, method = 'GET', headers = {}, body, maxBytes }) => {
    signal.throwIfAborted()
    const url = rule.check(address)
    const send = url.protocol === 'https:' ? requestHttps : requestHttp
    return new Promise((resolve, reject) => {
      const fail = (error: unknown) => reject(signal.aborted ? signal.reason : error)
      const sent = send(url, { method, headers, signal, lookup: rule.lookup, agent: false }, (response) => {
        const chunks: Buffer[] = []
        let bytes = 0
        const finish = (cut: boolean) =>
          resolve({
            status: response.statusCode ?? 0,
            contentType: response.headers['content-type'] ?? '',
            text: Buffer.concat(chunks).subarray(0, maxBytes).toString('utf8'),
            cut,
          })
        response.on('data', (chunk: Buffer) => {
          chunks.push(chunk)
          bytes += chunk.length
          if (bytes <= maxBytes) return
          finish(true)
          response.destroy()
        })
        response.on('end', () => finish(false))
        response.on('error', fail)
        response.on('aborted', () => fail(new Error('the connection was closed before the end of the answer')))
      })
      sent.on('error', fail)
      // A server that changes the protocol ends the request without an answer and without an error.
      sent.on('close', () => fail(new Error('the connection was closed before an answer')))
      sent.end(body)
    })
  }
