import { randomBytes } from 'node:crypto'
import type { FlowUpdateType } from '../../domain/execution/flow-update.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { WebhookRepository } from '../../repositories/repository.ts'
import type { Webhook } from './outbox.ts'

/** A webhook of the configuration with the state of its deliveries. For the operator only: it holds the secret. */
export interface WebhookReport {
  readonly url: string
  readonly events: readonly FlowUpdateType[]
  /** `whsec_` and the key in base64, with which the receiver verifies signatures. */
  readonly secret: string
  /** Deliveries that wait for their first or next attempt. */
  readonly queued: number
  /** Deliveries that were given up. */
  readonly failed: number
  /** The problem of the newest failed attempt, such as `HTTP 500` or `ECONNREFUSED`. */
  readonly lastProblem?: string
  /** Since when nothing is sent, because the receiver answered 410. */
  readonly disabledAt?: Date
}

export interface WebhookServiceDeps {
  readonly repository: WebhookRepository
  readonly webhooks: readonly Webhook[]
  readonly now: () => Date
  /** Called when deliveries are due again. */
  readonly onQueued: (webhookId: string) => void
}

/** The webhooks of the configuration. */
export class WebhookService {
  readonly #deps: WebhookServiceDeps
  readonly #secrets = new Map<string, Promise<string>>()

  constructor(deps: WebhookServiceDeps) {
    this.#deps = deps
  }

  /** All webhooks in the order of the configuration. */
  async list(): Promise<readonly WebhookReport[]> {
    const { repository, webhooks } = this.#deps
    if (webhooks.length === 0) return []
    const ids = webhooks.map(({ id }) => id)
    const [counts, stored] = await Promise.all([repository.counts(ids), repository.find(ids)])
    return Promise.all(
      webhooks.map(async (webhook): Promise<WebhookReport> => {
        const disabledAt = stored.find(({ id }) => id === webhook.id)?.disabledAt
        return {
          url: webhook.url,
          events: [...webhook.events],
          secret: await this.secretOf(webhook),
          ...(counts.get(webhook.id) ?? { queued: 0, failed: 0 }),
          ...(disabledAt && { disabledAt }),
        }
      }),
    )
  }

  /**
   * Queues failed deliveries again and enables disabled webhooks, of one URL or of all. Resolves with the number of
   * deliveries. INPUT_INVALID for a URL that is not configured.
   */
  async retry(url?: string): Promise<number> {
    const { repository, webhooks, now, onQueued } = this.#deps
    const chosen = webhooks.filter((webhook) => url === undefined || webhook.url === url)
    if (chosen.length === 0 && url !== undefined) {
      throw new OrchestratorError('INPUT_INVALID', 'Expected the URL of a configured webhook, found another one')
    }
    const counts = await Promise.all(chosen.map(({ id }) => repository.retry(id, now())))
    for (const { id } of chosen) onQueued(id)
    return counts.reduce((sum, count) => sum + count, 0)
  }

  /** The secret of a webhook; without one in the configuration it is made once and stored. Read once per process. */
  secretOf(webhook: Webhook): Promise<string> {
    if (webhook.secret !== undefined) return Promise.resolve(webhook.secret)
    const known = this.#secrets.get(webhook.id)
    if (known) return known
    const kept = this.#deps.repository.keepSecret(webhook.id, createSecret())
    this.#secrets.set(webhook.id, kept)
    kept.catch(() => this.#secrets.delete(webhook.id))
    return kept
  }
}

const createSecret = (): string => `whsec_${randomBytes(32).toString('base64')}`
