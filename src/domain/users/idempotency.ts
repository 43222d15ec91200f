/** One request that a client marked with a key, so that sending it again does nothing twice. */
export interface IdempotentRequest {
  readonly userId: string
  /** As the client chose it; means nothing to other users. */
  readonly key: string
  /** What tells the request from others under the same key: a hash of method, address and body. */
  readonly fingerprint: string
  readonly now: Date
  /** From then on the holder counts as dead, and the same request may take its place. */
  readonly lockedUntil: Date
}

/** An answer as it is sent again. */
export interface IdempotentAnswer {
  readonly statusCode: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export type IdempotencyState =
  /** The caller holds the key and must finish or release it; `lock` tells it from a holder that came before or after. */
  | { readonly state: 'new'; readonly lock: string }
  | { readonly state: 'running' }
  | { readonly state: 'other_request' }
  | { readonly state: 'done'; readonly answer: IdempotentAnswer }
