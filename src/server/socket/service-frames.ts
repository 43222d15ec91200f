import type { ServerFrame } from '../../protocol/socket.ts'
import type { ServiceReport } from '../../services/service.ts'
import type { ServiceFeed } from '../services/service-feed.ts'

/** The states of services on one WebSocket. */
export interface ServiceFrames {
  /**
   * Sends every service, and from now on every change. Calling it again sends every service again. `toAnswer` makes the
   * frame that is sent first, of the number of services.
   */
  start(toAnswer?: (services: number) => ServerFrame): void
  /** Must be called when the WebSocket has capacity again. */
  resume(): void
  stop(): void
}

export interface ServiceFramesDeps {
  readonly feed: ServiceFeed
  readonly isFull: () => boolean
  readonly send: (frame: ServerFrame) => void
}

export function createServiceFrames({ feed, isFull, send }: ServiceFramesDeps): ServiceFrames {
  /** The newest state of every service that a slow reader has not received; earlier ones are of no use to it. */
  const pending = new Map<string, ServiceReport>()
  let endSubscription: (() => void) | undefined
  let isStopped = false

  const deliver = (service: ServiceReport) => {
    if (isFull()) pending.set(service.id, service)
    else send({ type: 'service', service })
  }
  const stop = () => {
    endSubscription?.()
    endSubscription = undefined
    pending.clear()
  }

  return {
    start(toAnswer) {
      stop()
      if (isStopped) return
      if (toAnswer) send(toAnswer(feed.count()))
      endSubscription = feed.subscribe(deliver)
    },
    resume() {
      for (const [id, service] of pending) {
        if (isFull()) return
        pending.delete(id)
        send({ type: 'service', service })
      }
    },
    stop() {
      isStopped = true
      stop()
    },
  }
}
