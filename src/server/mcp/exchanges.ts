import type { ServerResponse } from 'node:http'
import { createPeriodicCheck } from '../streaming/periodic-check.ts'

export interface ExchangesOptions {
  /** Milliseconds between looks at whether a caller still is one. */
  readonly recheckIntervalMs: number
  /** Longest that answers are waited for at the end. */
  readonly closeTimeoutMs: number
}

/** One request that is being answered. */
export interface InFlightCall {
  /** Aborted when the client has gone, or has its answer; aborting it lets nobody wait any more. */
  readonly clientGone: AbortController
  /** Aborted when who waits is to answer now: the server closes, or the caller is none any more. */
  readonly respondNow: AbortSignal
}

/** Requests that are being answered. */
export function createExchanges({ recheckIntervalMs, closeTimeoutMs }: ExchangesOptions) {
  // One controller each: a signal that lives as long as the server would keep what depends on it.
  const open = new Map<ServerResponse, AbortController>()
  let isClosing = false
  let onIdle = () => {}

  return {
    open(response: ServerResponse, isCurrent: () => Promise<boolean>): InFlightCall {
      const clientGone = new AbortController()
      const enough = new AbortController()
      if (isClosing) enough.abort()
      // It is not told a second time that a client left before its request came here.
      if (response.destroyed) {
        clientGone.abort()
        return { clientGone, respondNow: enough.signal }
      }
      const look = async () => {
        if (!(await isCurrent())) enough.abort()
      }
      const timer = setInterval(createPeriodicCheck(look), recheckIntervalMs).unref()
      open.set(response, enough)
      response.once('close', () => {
        clearInterval(timer)
        open.delete(response)
        clientGone.abort()
        if (open.size === 0) onIdle()
      })
      return { clientGone, respondNow: enough.signal }
    },

    /** Lets those who wait answer with what there is, before connections are closed. */
    close: async (): Promise<void> => {
      isClosing = true
      for (const enough of open.values()) enough.abort()
      if (open.size === 0) return
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, closeTimeoutMs)
        onIdle = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    },
    get size(): number {
      return open.size
    },
  }
}
