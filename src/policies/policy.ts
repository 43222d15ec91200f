import type { ContextPolicy } from '../domain/definition/flow-definition.ts'
import type { ApiKey, Scope } from '../domain/users/api-key.ts'
import type { ContextKind, DataSharingPolicy, DataSharingRules, SharingDecision } from '../domain/users/sharing.ts'
import type { ThreadRight } from '../domain/users/thread.ts'

/**
 * Who may do what with a thread (S4-111 to S4-115); flows inherit. The database implementation is the default;
 * a backend may plug in its own. Asked at least once per public call.
 */
export interface PermissionService {
  /** Must answer from current state; at most one second old across processes. False for an unknown thread too. */
  can(userId: string, threadId: string, right: ThreadRight): Promise<boolean>
  /** Rights of the user on the thread; empty for none. */
  rightsOf(userId: string, threadId: string): Promise<ReadonlySet<ThreadRight>>
  /**
   * Adds the rights to those that `toUserId` holds. Rejects with PERMISSION_DENIED when `byUserId` does not hold every right given,
   * THREAD_NOT_FOUND when it cannot read, INPUT_INVALID for no rights or unknown ones.
   */
  grant(threadId: string, byUserId: string, toUserId: string, rights: readonly ThreadRight[]): Promise<void>
  /** Takes the rights, all where none are named. Rejects as `grant` does, and with PERMISSION_DENIED for the creator of the thread. */
  revoke(threadId: string, byUserId: string, fromUserId: string, rights?: readonly ThreadRight[]): Promise<void>
  /** Everybody who holds a right on the thread. Rejects with THREAD_NOT_FOUND when `byUserId` cannot read. */
  list(
    threadId: string,
    byUserId: string,
  ): Promise<readonly { readonly userId: string; readonly rights: readonly ThreadRight[] }[]>
  /** Gives the creator of a new thread all rights. */
  threadCreated(threadId: string, userId: string): Promise<void>
  /** Forgets what it remembers of a thread that is gone. */
  threadDeleted?(threadId: string): void
}

/** Policies of users for providers (S4-116 to S4-122). `providerKey` is the provider's id as steps name it. Read once per target of every step. */
export interface DataSharingService {
  /** Replaces the policy; rules that are not named are false. Rejects with INPUT_INVALID for anything that is no policy. */
  set(userId: string, providerKey: string, rules: Partial<DataSharingRules>): Promise<DataSharingPolicy>
  /** `undefined`: nothing is shared. Must be at most one second old across processes. */
  get(userId: string, providerKey: string): Promise<DataSharingPolicy | undefined>
  list(userId: string): Promise<readonly DataSharingPolicy[]>
  /** Resolves also where there was none. */
  remove(userId: string, providerKey: string): Promise<void>
}

/** What a new key is to be. */
export interface NewApiKey {
  /** For people, at most 200 characters. */
  readonly name?: string
  /** One or more; default: all but `metrics`. */
  readonly scopes?: readonly Scope[]
  /** In the future; default: never. */
  readonly expiresAt?: Date
}

/** Keys that stand for users at the server. Asked on every request. */
export interface ApiKeyService {
  /** A token is `pk_<id>_<secret>`, shown here and never again: only a hash is stored. Rejects with INPUT_INVALID. */
  create(userId: string, options?: NewApiKey): Promise<{ readonly key: ApiKey; readonly token: string }>
  /** Newest first, revoked and expired ones too; of one user, or of all. */
  list(userId?: string): Promise<readonly ApiKey[]>
  /** Counts at once in this process, within a second in others. Revoking twice keeps the first instant. Rejects with KEY_NOT_FOUND. */
  revoke(id: string): Promise<ApiKey>
  /**
   * The key of a token; `undefined` for anything malformed, unknown, wrong, revoked or expired. Must do the same work for all of them. Notes the use, without
   * making the caller wait for it.
   */
  verify(token: string): Promise<ApiKey | undefined>
  /** Whether any key was ever made. One that was revoked or has expired counts: with the last key gone nobody may come in, not everybody. */
  exist(): Promise<boolean>
  /** Whether the key still is usable now; for connections that stay open. */
  isUsable(id: string): Promise<boolean>
}

/** One piece of text that might go to a provider. */
export interface ContextItem {
  readonly kind: ContextKind
  /** Step id, message id or attachment name. */
  readonly name: string
  /** Provider that wrote it; absent for text of the user. */
  readonly from?: string
  readonly text: string
  /** Named by `inputFrom` or used in the prompt: forbidden means the step fails. */
  readonly required: boolean
  /** Is never shortened or left out for its length: a system message, say. */
  readonly whole?: boolean
}

/** What one step might be given, and what decides. */
export interface SharedContextRequest {
  readonly userId: string
  readonly stepId: string
  /** Provider id that is about to be called. */
  readonly to: string
  readonly policy: DataSharingPolicy | undefined
  readonly contextPolicy: ContextPolicy
  /** Oldest first within each kind. */
  readonly items: readonly ContextItem[]
  /** Tokens of a text for the model that is asked. */
  readonly countTokens: (text: string) => number | Promise<number>
}

/** What one step may see, and the record of why. */
export interface SharedContext {
  /** Same order as the pieces that went in; text possibly shortened. */
  readonly visible: readonly ContextItem[]
  readonly decisions: readonly SharingDecision[]
  /** Cuts, for the step result. */
  readonly notes: readonly string[]
}

/**
 * Judges every piece on every call. Pure but for counting. Rejects with DATA_SHARING_DENIED (`details`: stepId, piece, kind, from, to, rule)
 * when a required piece is forbidden.
 */
export type ShareContext = (request: SharedContextRequest) => Promise<SharedContext>

/** The decision for one piece alone; what checkFlow uses before a run. */
export type DecideSharing = (
  piece: Pick<ContextItem, 'kind' | 'name' | 'from'>,
  to: string,
  policy: DataSharingPolicy | undefined,
) => SharingDecision
