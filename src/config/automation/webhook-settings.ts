import * as z from 'zod'
import { FLOW_UPDATE_TYPES } from '../../domain/execution/flow-update.ts'

/** Keys of 24 to 64 bytes, as https://www.standardwebhooks.com recommends (read 2026-11). */
const SECRET = /^whsec_[A-Za-z0-9+/]+={0,2}$/
const isSecret = (secret: string): boolean => {
  const bytes = SECRET.test(secret) ? Buffer.from(secret.slice('whsec_'.length), 'base64').length : 0
  return bytes >= 24 && bytes <= 64
}

/** One receiver of events of flows. */
const webhookSchema = z.strictObject({
  /**
   * Where events are sent. A name must resolve to public addresses only; an IP address and `localhost` may be private,
   * because the operator names them here.
   */
  url: z.url({ protocol: /^https?$/, error: 'expected an http:// or https:// URL' }),
  /** Types of updates that are sent. `step_progress` sends one event for each chunk of text. */
  events: z.array(z.enum(FLOW_UPDATE_TYPES)).min(1),
  /** `whsec_` and 24 to 64 bytes in base64. Default: made once, stored, and shown by `polyphony webhooks`. */
  secret: z.string().refine(isSecret, 'expected whsec_ and 24 to 64 bytes in base64').optional(),
})
export type WebhookSettings = z.output<typeof webhookSchema>

export const webhooksSchema = z.array(webhookSchema).superRefine((webhooks, context) => {
  const urls = new Set<string>()
  for (const [index, { url }] of webhooks.entries()) {
    if (urls.has(url)) {
      context.addIssue({ code: 'custom', path: [index, 'url'], message: 'expected another URL than that of an earlier webhook' })
    }
    urls.add(url)
  }
})
