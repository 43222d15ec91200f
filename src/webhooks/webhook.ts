/**
 * The contract of this module: one signed HTTP request for one event, as https://www.standardwebhooks.com specifies it
 * (read 2026-11). The application decides what is sent, when, and how often.
 */
export interface WebhookMessage {
  readonly url: string
  /** `whsec_` and the key in base64. */
  readonly secret: string
  /** The same for every attempt, so that receivers can detect repetitions. Must not contain a dot. */
  readonly id: string
  /** The time of this attempt. */
  readonly sentAt: Date
  /** JSON text. */
  readonly body: string
}

/** What the receiver answered. */
export interface WebhookAnswer {
  /** HTTP status. */
  readonly status: number
  /** Milliseconds that the receiver asks to wait before the next attempt (`Retry-After`). */
  readonly retryAfterMs?: number
}

/** Sends webhooks. Implemented by createWebhookSender. */
export interface WebhookSender {
  /**
   * Sends one message and resolves with the answer, whatever its status, of a redirect too. Rejects with an
   * error whose `code` names the problem when there is no answer within 15 seconds, when the connection fails, when the
   * name of the host resolves to an address outside the public Internet (ADDRESS_NOT_PUBLIC), and with the reason of
   * the signal.
   */
  send(message: WebhookMessage, signal: AbortSignal): Promise<WebhookAnswer>
  /** Closes idle connections. */
  close(): void
}
