/** A request that a client marked with a key, so that sending it again has no second effect. */
export interface IdempotentRequest {
  readonly userId: string
  /** Chosen by the client. Other users may use the same key for other requests. */
  readonly key: string
  /** A hash of method, address and body, which distinguishes the request from others under the same key. */
  readonly fingerprint: string
  readonly now: Date
  /** From this instant on the holder counts as dead, and the same request may replace it. */
  readonly lockedUntil: Date
}

/** An answer that is stored to be sent again. */
export interface IdempotentAnswer {
  readonly statusCode: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export type IdempotencyState =
  /** The caller holds the key and must finish or release it. `lock` identifies it among the holders of the key. */
  | { readonly state: 'new'; readonly lock: string }
  | { readonly state: 'running' }
  | { readonly state: 'other_request' }
  | { readonly state: 'done'; readonly answer: IdempotentAnswer }
