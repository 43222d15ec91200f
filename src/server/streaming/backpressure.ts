import { sliceMs } from '../../async/attended-time.ts'
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
 * long update may take it several times that long. Time in which this process was late does not count, see `sliceMs`:
 * `isTooSlow` must be called at least once per slice.
 */
export function createBackpressureMonitor({
  maxBufferedBytes,
  slowAfterMs,
}: Pick<ServerSettings['sockets'], 'maxBufferedBytes' | 'slowAfterMs'>): BackpressureMonitor {
  const enoughBytes = maxBufferedBytes / 2
  const longestMs = sliceMs(slowAfterMs)
  let full: { readonly waitingBytes: number; readonly countedMs: number; readonly atMs: number } | undefined

  return {
    isFull(waitingBytes) {
      if (waitingBytes < maxBufferedBytes) return false
      full ??= { waitingBytes, countedMs: 0, atMs: performance.now() }
      return true
    },
    hasRoomAgain(waitingBytes) {
      if (!full || waitingBytes > enoughBytes) return false
      full = undefined
      return true
    },
    isTooSlow(waitingBytes) {
      if (!full) return false
      const atMs = performance.now()
      const hasRead = full.waitingBytes - waitingBytes >= enoughBytes
      full = hasRead
        ? { waitingBytes, countedMs: 0, atMs }
        : { ...full, countedMs: full.countedMs + Math.min(atMs - full.atMs, longestMs), atMs }
      return full.countedMs >= slowAfterMs
    },
    get isBackpressured() {
      return full !== undefined
    },
  }
}
