import type { BroadcastTransport, FrameHandlers } from '../../src/notifications/notification.ts'

/** Carries frames between the buses of one process. */
export function createMemoryTransport(): BroadcastTransport {
  const connected = new Set<FrameHandlers>()
  return {
    maxFrameBytes: Number.POSITIVE_INFINITY,
    async connect(handlers) {
      connected.add(handlers)
      return {
        async send(frames) {
          for (const frame of frames) for (const { onFrame } of [...connected]) onFrame(frame)
        },
        async close() {
          connected.delete(handlers)
        },
      }
    },
  }
}
