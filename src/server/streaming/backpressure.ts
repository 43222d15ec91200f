import type { ServerSettings } from '../../config/config.ts'

/** Measures whether the reader of one connection keeps up, by the bytes that are buffered for it. */
export interface BackpressureMonitor {
  /** True when the buffer is full. The time of a full buffer is measured from the first such call. */
  isFull(waitingBytes: number): boolean
  /** True once, when the reader has read half of a buffer that was full. */
  hasRoomAgain(waitingBytes: number): boolean
  /** True when the buffer was full and the reader has read too little for too long. */
  isTooSlow(waitingBytes: number): boolean
  /** True from the moment the buffer was full until `hasRoomAgain` returned true. */
  readonly isBackpressured: boolean
}

/**
 * A reader with a full buffer must read half of `maxBufferedBytes` within `slowAfterMs`, otherwise it is too slow. A
 * long update may take it several times that long.
 */
export function createBackpressureMonitor({
  maxBufferedBytes,
  slowAfterMs,
}: Pick<ServerSettings['sockets'], 'maxBufferedBytes' | 'slowAfterMs'>): BackpressureMonitor {
  const enoughBytes = maxBufferedBytes / 2
  let fullSince: { readonly atMs: number; readonly waitingBytes: number } | undefined

  return {
    isFull(waitingBytes) {
      if (waitingBytes < maxBufferedBytes) return false
      fullSince ??= { atMs: performance.now(), waitingBytes }
      return true
    },
    hasRoomAgain(waitingBytes) {
      if (!fullSince || waitingBytes > enoughBytes) return false
      fullSince = undefined
      return true
    },
    isTooSlow(waitingBytes) {
      if (!fullSince) return false
      const nowMs = performance.now()
      if (fullSince.waitingBytes - waitingBytes >= enoughBytes) fullSince = { atMs: nowMs, waitingBytes }
      return nowMs - fullSince.atMs >= slowAfterMs
    },
    get isBackpressured() {
      return fullSince !== undefined
    },
  }
}
