import type { Logger, PolyphonyConfig } from '../../config/config.ts'
import { readVersion } from '../../config/version.ts'
import { toDerivedId } from '../../domain/derived-id.ts'
import { type Webhook, withOutbox } from '../../orchestrator/webhooks/outbox.ts'
import { createWebhookDelivery } from '../../orchestrator/webhooks/webhook-delivery.ts'
import { WebhookService } from '../../orchestrator/webhooks/webhook-service.ts'
import type { Store } from '../../repositories/repository.ts'
import { createWebhookSender } from '../../webhooks/http-sender.ts'

export interface CreateWebhooksDeps {
  readonly config: Pick<PolyphonyConfig, 'webhooks'>
  readonly store: Store
  readonly logger: Pick<Logger, 'warn'>
}

/**
 * Builds the webhooks of the configuration: the store whose journal fills their outbox, the delivery, and the service
 * for operators. Without webhooks the store stays as it is.
 */
export function createWebhooks({ config, store, logger }: CreateWebhooksDeps) {
  const repository = store.webhooks
  const webhooks = config.webhooks.map(
    ({ url, events, secret }): Webhook => ({ id: toDerivedId(`webhook ${url}`), url, events: new Set(events), secret }),
  )
  const service = new WebhookService({
    repository,
    webhooks,
    now: () => new Date(),
    onQueued: (webhookId) => delivery.wake(webhookId),
  })
  const delivery = createWebhookDelivery({
    repository,
    sender: createWebhookSender({ version: readVersion() }),
    webhooks,
    secretOf: (webhook) => service.secretOf(webhook),
    logger,
    now: Date.now,
    random: Math.random,
  })
  const { journal } = store
  const outbox = () => withOutbox({ journal, webhooks, onClaimed: delivery.start, onQueued: delivery.wake })
  return {
    service,
    delivery,
    /** Ids of the webhooks that ask for errors. */
    errorWebhooks: webhooks.filter(({ events }) => events.has('error')).map(({ id }) => id),
    store: webhooks.length === 0 ? store : { ...store, journal: outbox() },
  }
}

export type Webhooks = ReturnType<typeof createWebhooks>
