import type { ServerResponse } from 'node:http'

export interface ExchangesOptions {
  /** Milliseconds between looks at whether a caller still is one. */
  readonly lookEveryMs: number
  /** Longest that answers are waited for at the end. */
  readonly closeTimeoutMs: number
}

/** One request that is being answered. */
export interface Exchange {
  /** Aborted when the client has gone, or has its answer; aborting it lets nobody wait any more. */
  readonly gone: AbortController
  /** Aborted when who waits is to answer now: the server closes, or the caller is none any more. */
  readonly enough: AbortSignal
}

/** Requests that are being answered. */
export function createExchanges({ lookEveryMs, closeTimeoutMs }: ExchangesOptions) {
  const closing = new AbortController()
  const open = new Set<ServerResponse>()
  let onIdle = () => {}

  return {
    open(response: ServerResponse, isCurrent: () => Promise<boolean>): Exchange {
      const gone = new AbortController()
      const lost = new AbortController()
      const look = () => {
        isCurrent()
          .then((current) => current || lost.abort())
          // A database that is away for a moment is asked again.
          .catch(() => {})
      }
      const timer = setInterval(look, lookEveryMs).unref()
      open.add(response)
      response.once('close', () => {
        clearInterval(timer)
        open.delete(response)
        gone.abort()
        if (open.size === 0) onIdle()
      })
      return { gone, enough: AbortSignal.any([closing.signal, lost.signal]) }
    },

    /** Lets those who wait answer with what there is, before connections are closed. */
    close: async (): Promise<void> => {
      closing.abort()
      if (open.size === 0) return
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, closeTimeoutMs)
        onIdle = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    },
  }
}
