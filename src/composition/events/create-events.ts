import { randomUUID } from 'node:crypto'
import type { Logger, PolyphonyConfig } from '../../config/config.ts'
import { createEventBus } from '../../events/bus.ts'
import { createEventService } from '../../orchestrator/events/event-service.ts'
import { createFlowEventSource } from '../../orchestrator/events/flow-event-source.ts'
import type { FlowAccess } from '../../orchestrator/flows/flow-access.ts'
import { startPruningEvents } from '../../orchestrator/ownership/retention.ts'
import type { Store } from '../../repositories/repository.ts'
import type { Updates } from '../flows/create-updates.ts'

export interface CreateEventsDeps {
  readonly config: Pick<PolyphonyConfig, 'events'>
  readonly store: Store
  readonly updates: Pick<Updates, 'bus' | 'live' | 'onStored'>
  readonly access: Pick<FlowAccess, 'canRead'>
  readonly warn: Logger['warn']
  readonly now: () => Date
}

/**
 * Builds the event log with its bus. Until somebody publishes or subscribes it reads and stores nothing and has no
 * timer.
 */
export function createEvents({ config: { events: settings }, store, updates, access, warn, now }: CreateEventsDeps) {
  let stopPruning: (() => void) | undefined
  const pruneFromNow = () => {
    stopPruning ??= startPruningEvents(store.events, settings.retentionMs)
  }
  const { events: log } = store
  const bus = createEventBus({
    log: {
      ...log,
      append(events) {
        pruneFromNow()
        return log.append(events)
      },
    },
    ...(store.kind === 'postgres' && { messages: updates.bus }),
    ...settings,
    now,
    newId: randomUUID,
    warn,
  })
  const source = createFlowEventSource({ ...store, bus: updates.bus, deliver: bus.deliver })
  updates.onStored(source.stored)
  const service = createEventService({ bus, source, log, ...store, access })
  return {
    service,
    /** For what ends flows that no process drives: they have no log of updates that would announce it. */
    live: {
      ...updates.live,
      ended(flowId: string) {
        updates.live.ended(flowId)
        source.ended(flowId)
      },
    },
    async close(): Promise<void> {
      source.stop()
      await bus.close()
      // After the last write, which may be the first one and start it.
      stopPruning?.()
    },
  }
}
