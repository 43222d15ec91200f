/** What one user allows one provider to see (S4-116). No policy means: nothing beyond the user's own prompt and the provider's own outputs. */
export interface DataSharingPolicy {
  readonly userId: string
  /** Provider id as steps name it. */
  readonly providerKey: string
  readonly allowConversationHistory: boolean
  readonly allowCrossProviderContext: boolean
  readonly allowAttachments: boolean
}

export type DataSharingRules = Omit<DataSharingPolicy, 'userId' | 'providerKey'>

export const CONTEXT_KINDS = ['original_prompt', 'conversation_history', 'step_output', 'attachment'] as const
export type ContextKind = (typeof CONTEXT_KINDS)[number]

/** One decision about one piece of context on its way to one provider. */
export interface SharingDecision {
  readonly kind: ContextKind
  /** Step id, message id or attachment name. */
  readonly piece: string
  /** Provider that wrote it; absent for text of the user. */
  readonly from?: string
  readonly to: string
  readonly allowed: boolean
  /** The rule that decided, e.g. `own_output`, `allowCrossProviderContext`, `no_policy`, `shareConversationHistory`, `maxSharedTokens`. */
  readonly rule: string
}
