import type {
  ClaimedDelivery,
  DeliveryAttempt,
  NewDelivery,
  StoredWebhook,
  WebhookRepository,
} from '../../background-repositories.ts'

type Delivery = NewDelivery & {
  readonly flowId: string
  readonly key: string
  attempts: number
  state: DeliveryAttempt['state']
  dueAt: Date | undefined
  settledAt: Date | undefined
  problem: string | undefined
}

export interface MemoryWebhooks {
  readonly webhooks: WebhookRepository
  addDeliveries(flowId: string, deliveries: readonly NewDelivery[]): void
}

export interface MemoryWebhooksOptions {
  /** Deliveries of all webhooks that are kept, the newest ones. */
  readonly maxDeliveries: number
  readonly flowOf: (flowId: string) => ClaimedDelivery['flow']
}

/** Webhooks and their outbox in plain Maps. */
export function createMemoryWebhooks({ maxDeliveries, flowOf }: MemoryWebhooksOptions): MemoryWebhooks {
  const stored = new Map<string, StoredWebhook>()
  const deliveries = new Map<string, Delivery>()
  const of = (webhookId: string) => Array.from(deliveries.values()).filter((delivery) => delivery.webhookId === webhookId)
  const change = (id: string, values: Partial<StoredWebhook>) => stored.set(id, { id, ...stored.get(id), ...values })

  const webhooks: WebhookRepository = {
    keepSecret: async (id, secret) => {
      const kept = stored.get(id)?.secret ?? secret
      change(id, { secret: kept })
      return kept
    },
    find: async (ids) => ids.flatMap((id) => stored.get(id) ?? []),
    disable: async (id, at, problem) => {
      change(id, { disabledAt: at })
      for (const delivery of of(id)) {
        if (delivery.dueAt) Object.assign(delivery, { state: 'failed', dueAt: undefined, settledAt: at, problem })
      }
    },
    retry: async (id, at) => {
      const { disabledAt: _disabledAt, ...enabled } = stored.get(id) ?? { id }
      stored.set(id, enabled)
      const failed = of(id).filter(({ state }) => state === 'failed')
      for (const delivery of failed) Object.assign(delivery, { state: 'queued', attempts: 0, dueAt: at, settledAt: undefined })
      return failed.length
    },
    claim: async (id, limit, now, leaseUntil) => {
      if (stored.get(id)?.disabledAt) return []
      const due = of(id).filter(({ dueAt }) => dueAt && dueAt <= now)
      const claimed = due.sort((a, b) => Number(a.dueAt) - Number(b.dueAt)).slice(0, limit)
      return claimed.map((delivery): ClaimedDelivery => {
        delivery.attempts++
        delivery.dueAt = leaseUntil
        const { webhookId, flowId, seq, type, timestamp, facts, attempts } = delivery
        const flow = flowOf(flowId)
        return { webhookId, flowId, seq, type, timestamp, facts, attempt: attempts, ...(flow && { flow }) }
      })
    },
    settle: async (attempt) => {
      const delivery = deliveries.get(toKey(attempt.webhookId, attempt.flowId, attempt.seq))
      if (delivery?.state !== 'queued') return
      const { state, at } = attempt
      if (state !== 'delivered' && delivery.attempts !== attempt.attempt) return
      delivery.state = state
      delivery.dueAt = state === 'queued' ? (attempt.dueAt ?? at) : undefined
      delivery.settledAt = state === 'queued' ? undefined : at
      delivery.problem = attempt.problem ?? delivery.problem
    },
    counts: async (ids) =>
      new Map(
        ids.flatMap((id) => {
          const own = of(id)
          if (own.length === 0) return []
          const count = (state: Delivery['state']) => own.filter((delivery) => delivery.state === state).length
          const at = (delivery: Delivery) => Number(delivery.settledAt ?? delivery.dueAt)
          const troubled = own.filter(({ state, problem }) => problem !== undefined && state !== 'delivered')
          const lastProblem = troubled.sort((a, b) => at(b) - at(a))[0]?.problem
          return [[id, { queued: count('queued'), failed: count('failed'), ...(lastProblem !== undefined && { lastProblem }) }]]
        }),
      ),
    prune: async (before) => {
      const old = Array.from(deliveries.values()).filter(({ state, settledAt, dueAt }) => {
        const since = settledAt ?? dueAt
        return since !== undefined && since < (state === 'delivered' ? before.delivered : before.failed)
      })
      for (const { key } of old) deliveries.delete(key)
      return old.length
    },
  }

  return {
    webhooks,
    addDeliveries: (flowId, added) => {
      for (const delivery of added) {
        const key = toKey(delivery.webhookId, flowId, delivery.seq)
        const state = {
          attempts: 0,
          state: 'queued' as const,
          dueAt: delivery.timestamp,
          settledAt: undefined,
          problem: undefined,
        }
        if (!deliveries.has(key)) deliveries.set(key, { ...delivery, flowId, key, ...state })
      }
      for (const key of deliveries.keys()) {
        if (deliveries.size <= maxDeliveries) return
        deliveries.delete(key)
      }
    },
  }
}

const toKey = (webhookId: string, flowId: string, seq: number): string => `${webhookId}/${flowId}/${seq}`
