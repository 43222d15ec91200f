import type { EventFilter } from '../../domain/event.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { EventService } from '../../orchestrator/events/event-service.ts'
import type { ServerFrame } from '../../protocol/socket.ts'
import type { Caller } from '../access/caller.ts'
import { type EventReader, openEventReader } from '../streaming/event-reader.ts'

export interface EventSlotDeps {
  readonly caller: Caller
  readonly events: Pick<EventService, 'follow' | 'list' | 'newestSeq' | 'ready'>
  readonly isFull: () => boolean
  readonly send: (frame: ServerFrame) => void
  /** Sends the client the reason why the subscription has ended. */
  readonly refuse: (error: OrchestratorError) => void
}

/** The subscription to events of one WebSocket; a further one replaces it. */
export interface EventSlot {
  open(filter: EventFilter, afterSeq: number | undefined, requestId: string | undefined): Promise<void>
  end(): void
  /** Ends the subscription if the caller may no longer read its flow. */
  recheck(): Promise<void>
  /** Must be called when the WebSocket has capacity again. */
  resume(): void
}

export function createEventSlot({ caller, events, isFull, send, refuse }: EventSlotDeps): EventSlot {
  let reader: EventReader | undefined
  let isStopped = false

  return {
    async open(filter, afterSeq, requestId) {
      reader?.stop()
      isStopped = false
      const sink = {
        isFull,
        send: (event: Extract<ServerFrame, { type: 'event' }>['event']) => send({ type: 'event', event }),
        gap: (from: number, to: number) => send({ type: 'gap', from, to }),
      }
      const opened = await openEventReader(events, { caller, filter, afterSeq, sink })
      if (isStopped) return opened.stop()
      reader = opened
      send({ type: 'events_subscribed', requestId, afterSeq })
    },
    end() {
      isStopped = true
      reader?.stop()
      reader = undefined
    },
    async recheck() {
      const checked = reader
      if (!checked || (await checked.isAllowed()) || reader !== checked) return
      checked.stop()
      reader = undefined
      refuse(new OrchestratorError('PERMISSION_DENIED', 'The flow of the subscribed events can no longer be read'))
    },
    resume: () => reader?.resume(),
  }
}
