import type { ServerSettings } from '../../config/config.ts'

/** Judges a reader by what waits for it. */
export interface BackpressureMonitor {
  /** More waits than the reader should be given; from then on it is watched. */
  isFull(waitingBytes: number): boolean
  /** True once, when a full reader has taken enough to be given more. */
  hasRoomAgain(waitingBytes: number): boolean
  /** A full reader has taken too little for too long. */
  isTooSlow(waitingBytes: number): boolean
  /** It was full, and has not taken enough since. */
  readonly isBackpressured: boolean
}

/** A full reader must take half of what may wait for it within `slowAfterMs`, or it is too slow; a long update may take it several times that. */
export function createBackpressureMonitor({
  maxBufferedBytes,
  slowAfterMs,
}: Pick<ServerSettings['sockets'], 'maxBufferedBytes' | 'slowAfterMs'>): BackpressureMonitor {
  const enoughBytes = maxBufferedBytes / 2
  let since: { readonly atMs: number; readonly waitingBytes: number } | undefined

  return {
    isFull(waitingBytes) {
      if (waitingBytes < maxBufferedBytes) return false
      since ??= { atMs: performance.now(), waitingBytes }
      return true
    },
    hasRoomAgain(waitingBytes) {
      if (!since || waitingBytes > enoughBytes) return false
      since = undefined
      return true
    },
    isTooSlow(waitingBytes) {
      if (!since) return false
      const nowMs = performance.now()
      if (since.waitingBytes - waitingBytes >= enoughBytes) since = { atMs: nowMs, waitingBytes }
      return nowMs - since.atMs >= slowAfterMs
    },
    get isBackpressured() {
      return since !== undefined
    },
  }
}
