import type { ClaimedDelivery, DeliveryAttempt, WebhookRepository } from '../../repositories/repository.ts'
import type { WebhookSender } from '../../webhooks/webhook.ts'
import { nextDelayMs } from './backoff.ts'
import type { Webhook } from './outbox.ts'
import { toBody, toMessageId } from './webhook-event.ts'

/** Messages to one webhook that a process sends at the same time. A slow receiver delays only its own messages. */
const CONCURRENCY = 8
/**
 * Milliseconds for which a claimed delivery belongs to this process; longer than one attempt can take, the difference
 * between the clocks of two machines included.
 */
const LEASE_MS = 60_000
const POLL_MS = 5_000
/** Milliseconds within which messages that are being sent may end when the process closes. */
const CLOSE_WITHIN_MS = 2_000
const GONE = 410

export interface WebhookDeliveryDeps {
  readonly repository: WebhookRepository
  readonly sender: WebhookSender
  readonly webhooks: readonly Webhook[]
  /** The secret of a webhook, configured or made. */
  readonly secretOf: (webhook: Webhook) => Promise<string>
  readonly logger: { warn(message: string, facts: Readonly<Record<string, unknown>>): void }
  /** Milliseconds since 1970. */
  readonly now: () => number
  /** From 0 up to, not including, 1. */
  readonly random: () => number
}

/**
 * Sends the deliveries of the outbox, in any number of processes at the same time. A delivery is sent at least once: a
 * process that dies between the answer and its record leaves it to another one, which sends it again under the same id.
 */
export function createWebhookDelivery(deps: WebhookDeliveryDeps) {
  const { repository, sender, logger, now, random } = deps
  const stopping = new AbortController()
  const queues = new Map(deps.webhooks.map((webhook) => [webhook.id, createQueue(webhook)]))
  let timer: NodeJS.Timeout | undefined
  let isClosed = false

  function createQueue(webhook: Webhook) {
    const sending = new Set<Promise<void>>()
    let claiming: Promise<void> | undefined
    let isWoken = false
    /** Whether the last claim filled its limit, so that more deliveries are probably due. */
    let mayHaveMore = false

    async function claim(): Promise<void> {
      do {
        isWoken = false
        const limit = CONCURRENCY - sending.size
        const at = now()
        const claimed = await repository.claim(webhook.id, limit, new Date(at), new Date(at + LEASE_MS))
        mayHaveMore = claimed.length === limit
        for (const delivery of claimed) {
          const sent: Promise<void> = send(webhook, delivery).finally(() => {
            sending.delete(sent)
            if (mayHaveMore) wake()
          })
          sending.add(sent)
        }
      } while (isWoken && !isClosed && sending.size < CONCURRENCY)
    }

    // Claims several deliveries at a time, because each claim is a statement.
    const wake = () => {
      isWoken = true
      if (claiming || isClosed || sending.size > CONCURRENCY / 2) return
      // An unreachable database is queried again at the next poll.
      claiming = claim()
        .catch(() => {})
        .finally(() => {
          claiming = undefined
        })
    }
    const idle = async () => {
      while (claiming || sending.size > 0) await Promise.all([claiming, ...sending])
    }
    return { wake, idle }
  }

  async function send(webhook: Webhook, delivery: ClaimedDelivery): Promise<void> {
    try {
      const end = await attempt(webhook, delivery)
      await repository.settle(end)
      if (end.problem === toProblem(GONE)) await repository.disable(webhook.id, end.at, end.problem)
      if (end.state !== 'failed') return
      const { flowId, type } = delivery
      logger.warn('a webhook could not be delivered', { webhookId: webhook.id, flowId, type, problem: end.problem })
    } catch {
      // The lease ends, and the delivery is sent again: by this process, or by another one.
    }
  }

  async function attempt(webhook: Webhook, delivery: ClaimedDelivery): Promise<DeliveryAttempt> {
    const { webhookId, flowId, seq } = delivery
    const key = { webhookId, flowId, seq, attempt: delivery.attempt }
    const sentAt = new Date(now())
    const message = {
      url: webhook.url,
      secret: await deps.secretOf(webhook),
      id: toMessageId(delivery),
      sentAt,
      body: toBody(delivery),
    }
    const failed = (problem: string, retryAfterMs?: number): DeliveryAttempt => {
      const at = new Date(now())
      const delayMs = problem === toProblem(GONE) ? undefined : nextDelayMs(delivery.attempt, random(), retryAfterMs)
      if (delayMs === undefined) return { ...key, at, state: 'failed', problem }
      return { ...key, at, state: 'queued', dueAt: new Date(at.getTime() + delayMs), problem }
    }
    try {
      const { status, retryAfterMs } = await sender.send(message, stopping.signal)
      if (status >= 200 && status < 300) return { ...key, at: new Date(now()), state: 'delivered' }
      return failed(toProblem(status), retryAfterMs)
    } catch (error) {
      // The next process sends it at once.
      if (stopping.signal.aborted) return { ...key, at: sentAt, state: 'queued', dueAt: sentAt }
      return failed(codeOf(error))
    }
  }

  const wakeAll = () => {
    for (const queue of queues.values()) queue.wake()
  }
  const idle = async () => {
    await Promise.all(Array.from(queues.values(), (queue) => queue.idle()))
  }

  return {
    /** Sends what is due from now on. Safe to call often. */
    start(): void {
      if (timer || isClosed || queues.size === 0) return
      timer = setInterval(wakeAll, POLL_MS)
      timer.unref()
      wakeAll()
    },
    /** Sends what is due to the webhook now, if this process delivers. */
    wake(webhookId: string): void {
      if (timer) queues.get(webhookId)?.wake()
    },
    wakeAll,
    /** Resolves when this process sends nothing. */
    idle,
    /** Sends nothing new and waits for messages that are being sent; those that take too long are left to others. */
    async close(withinMs = CLOSE_WITHIN_MS): Promise<void> {
      clearInterval(timer)
      isClosed = true
      const ending = setTimeout(() => stopping.abort(), withinMs)
      await idle()
      clearTimeout(ending)
      sender.close()
    },
  }
}

export type WebhookDelivery = ReturnType<typeof createWebhookDelivery>

const toProblem = (status: number): string => `HTTP ${status}`

/** The code of an error, such as ECONNREFUSED. Its message may quote the URL, which may hold a key. */
function codeOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'ABORT_ERR') return 'no answer in time'
  return typeof code === 'string' ? code : 'no answer'
}
