import { createHmac } from 'node:crypto'
import type { WebhookMessage } from './webhook.ts'

/** The three headers of Standard Webhooks: the signature covers id, time and body. */
export function signatureHeaders({ id, sentAt, body, secret }: Omit<WebhookMessage, 'url'>): Record<string, string> {
  const timestamp = String(Math.floor(sentAt.getTime() / 1_000))
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64')
  const signature = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': `v1,${signature}` }
}
