/**
 * Context that one user allows one provider to see. Without a policy the provider sees only the prompt of the user and
 * its own outputs.
 */
export interface DataSharingPolicy {
  readonly userId: string
  /** Id of the provider, as steps name it. */
  readonly providerKey: string
  readonly allowConversationHistory: boolean
  readonly allowCrossProviderContext: boolean
  readonly allowAttachments: boolean
}

export type DataSharingRules = Omit<DataSharingPolicy, 'userId' | 'providerKey'>

export const CONTEXT_KINDS = [
  'original_prompt',
  'conversation_history',
  'step_output',
  'attachment',
  'metadata',
  'tool_result',
] as const
export type ContextKind = (typeof CONTEXT_KINDS)[number]

/** One kind of text, with its writer, that another text was made from. */
export interface Origin {
  readonly kind: ContextKind
  /** Provider that wrote the text; absent for text of the user. */
  readonly from?: string
}

/** The decision whether one context item is sent to one provider. */
export interface SharingDecision {
  readonly kind: ContextKind
  /** Name of the context item: a step id, a message id or the name of an attachment. */
  readonly piece: string
  /** The provider that wrote the item; absent for text of the user. */
  readonly from?: string
  readonly to: string
  readonly allowed: boolean
  /**
   * The rule that decided, for example `own_output`, `in_process`, `in_house`, `allowCrossProviderContext`,
   * `no_policy`, `shareConversationHistory` or `maxSharedTokens`.
   */
  readonly rule: string
  /** What the item was made from, where that denied it and not the item itself. */
  readonly origin?: Origin
  /** Present where the definition says that only the writer of an item counts, not what the item was made from. */
  readonly provenance?: 'direct'
}
