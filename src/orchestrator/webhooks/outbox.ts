import type { FlowUpdateType } from '../../domain/execution/flow-update.ts'
import type { FlowOutcome, Journal, JournalEntry, NewDelivery } from '../../repositories/repository.ts'
import { toFacts } from './webhook-event.ts'

/** A configured webhook. */
export interface Webhook {
  /** Derived from the URL, so that every process knows the webhook by the same id. */
  readonly id: string
  readonly url: string
  readonly events: ReadonlySet<FlowUpdateType>
  /** Undefined if one is made. */
  readonly secret?: string
}

export interface OutboxDeps {
  readonly journal: Journal
  readonly webhooks: readonly Webhook[]
  /** Called when this process has claimed a flow. */
  readonly onClaimed: () => void
  /** Called when deliveries of the webhook are durable. */
  readonly onQueued: (webhookId: string) => void
}

/**
 * A journal that writes a delivery for each update that a webhook asks for, in the statement that writes the update: an
 * update is announced if and only if it is stored. Entries without such updates stay as they are.
 */
export function withOutbox({ journal, webhooks, onClaimed, onQueued }: OutboxDeps): Journal {
  const toDeliveries = ({ updates = [] }: JournalEntry, outcome?: FlowOutcome): readonly NewDelivery[] =>
    updates.flatMap((update) =>
      webhooks
        .filter(({ events }) => events.has(update.type))
        .map(({ id: webhookId }) => {
          const { seq, type, timestamp } = update
          return { webhookId, seq, type, timestamp, facts: toFacts(update, outcome) }
        }),
    )

  const write = async (deliveries: readonly NewDelivery[], stored: Promise<void>) => {
    await stored
    for (const webhookId of new Set(deliveries.map((delivery) => delivery.webhookId))) onQueued(webhookId)
  }

  return {
    ...journal,
    async claim(claim) {
      const claimed = await journal.claim(claim)
      if ('epoch' in claimed) onClaimed()
      return claimed
    },
    append(entry) {
      const deliveries = toDeliveries(entry)
      return deliveries.length === 0 ? journal.append(entry) : write(deliveries, journal.append({ ...entry, deliveries }))
    },
    finish(entry) {
      const deliveries = toDeliveries(entry, entry.outcome)
      return deliveries.length === 0 ? journal.finish(entry) : write(deliveries, journal.finish({ ...entry, deliveries }))
    },
  }
}
