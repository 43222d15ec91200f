import type { ContextPolicy } from '../domain/definition/flow-definition.ts'
import type { ApiKey, Scope } from '../domain/users/api-key.ts'
import type { ContextKind, DataSharingPolicy, DataSharingRules, Origin, SharingDecision } from '../domain/users/sharing.ts'
import type { ThreadRight } from '../domain/users/thread.ts'

/**
 * Rights of users on threads; a flow has the rights of its thread. Implemented by createPermissionService over the
 * database; a backend may supply its own through `config.permissions`. Called at least once per public call.
 *
 * ```ts
 * await polyphony.permissions.grant(thread.id, 'ada', 'bob', ['read'])
 * await polyphony.permissions.can('bob', thread.id, 'write') // false
 * ```
 */
export interface PermissionService {
  /**
   * Whether the user holds the right. Must answer from state that is at most one second old, across processes too.
   * False for an unknown thread.
   */
  can(userId: string, threadId: string, right: ThreadRight): Promise<boolean>
  /** The rights of the user on the thread; empty if the user holds none. */
  rightsOf(userId: string, threadId: string): Promise<ReadonlySet<ThreadRight>>
  /**
   * Adds the rights to those that `toUserId` holds. Rejects with PERMISSION_DENIED when `byUserId` does not hold each
   * of them, THREAD_NOT_FOUND when `byUserId` cannot read the thread, INPUT_INVALID for an empty list or unknown
   * rights.
   */
  grant(threadId: string, byUserId: string, toUserId: string, rights: readonly ThreadRight[]): Promise<void>
  /**
   * Removes the rights from `fromUserId`, all of them if `rights` is absent. Rejects as `grant` does, and with
   * PERMISSION_DENIED where `fromUserId` created the thread.
   */
  revoke(threadId: string, byUserId: string, fromUserId: string, rights?: readonly ThreadRight[]): Promise<void>
  /**
   * Users who hold a right on the thread, with their rights. Rejects with THREAD_NOT_FOUND when `byUserId` cannot read
   * it.
   */
  list(
    threadId: string,
    byUserId: string,
  ): Promise<readonly { readonly userId: string; readonly rights: readonly ThreadRight[] }[]>
  /** Grants all rights to the creator of a new thread. Called once per thread. */
  threadCreated(threadId: string, userId: string): Promise<void>
  /** Drops cached rights of a deleted thread. */
  threadDeleted?(threadId: string): void
}

/**
 * Policies by which users allow providers to see their data. Implemented by createDataSharingService. `providerKey` is
 * the provider's id as steps name it. `get` is called once per target of each step.
 *
 * ```ts
 * // Allows models of Anthropic to read what models of other providers wrote in flows of ada.
 * await polyphony.dataSharing.set('ada', 'anthropic', { allowCrossProviderContext: true })
 * ```
 */
export interface DataSharingService {
  /**
   * Replaces the policy; absent rules become false. Resolves with the stored policy. Rejects with INPUT_INVALID for
   * unknown fields or wrong types.
   */
  set(userId: string, providerKey: string, rules: Partial<DataSharingRules>): Promise<DataSharingPolicy>
  /**
   * The policy, or `undefined`, which allows nothing to be shared. Must be at most one second old, across processes
   * too.
   */
  get(userId: string, providerKey: string): Promise<DataSharingPolicy | undefined>
  list(userId: string): Promise<readonly DataSharingPolicy[]>
  /** Removes the policy. Resolves even if none exists. */
  remove(userId: string, providerKey: string): Promise<void>
}

/** Options of a new key. */
export interface NewApiKey {
  /** Label for people, at most 200 characters. */
  readonly name?: string
  /** One or more scopes; default: all but `metrics` and `operate`. */
  readonly scopes?: readonly Scope[]
  /** Must be in the future; default: the key never expires. */
  readonly expiresAt?: Date
}

/**
 * Keys by which clients authenticate as a user at the server. Implemented by createApiKeyService. `verify` is called on
 * each request.
 *
 * ```ts
 * const { token } = await polyphony.apiKeys.create('ada', { name: 'laptop', scopes: ['read'] })
 * await polyphony.apiKeys.verify(token) // the key, with its user and scopes
 * ```
 */
export interface ApiKeyService {
  /**
   * Creates a key. The token `pk_<id>_<secret>` is returned only here, because only a hash of it is stored. Rejects
   * with INPUT_INVALID.
   */
  create(userId: string, options?: NewApiKey): Promise<{ readonly key: ApiKey; readonly token: string }>
  /** Keys of one user, or of all users, newest first, revoked and expired ones included. */
  list(userId?: string): Promise<readonly ApiKey[]>
  /**
   * Revokes a key, at once in this process and within a second in others. A second revocation keeps the first instant.
   * Rejects with KEY_NOT_FOUND.
   */
  revoke(id: string): Promise<ApiKey>
  /**
   * The key of a token; `undefined` for a token that is malformed, unknown, wrong, revoked or expired. Must do the same
   * work in all of these cases, so that response times reveal nothing. Records the use in the background.
   */
  verify(token: string): Promise<ApiKey | undefined>
  /**
   * Whether any key was ever created. Revoked and expired keys count: a server without a usable key must stay closed.
   */
  exist(): Promise<boolean>
  /** Whether the key is still usable; checked periodically for open connections. */
  isUsable(id: string): Promise<boolean>
}

/** One unit of text that may be shared with a provider. */
export interface ContextItem {
  readonly kind: ContextKind
  /** Step id, message id or attachment name. */
  readonly name: string
  /** Provider whose model wrote the text; absent for text of the user. */
  readonly from?: string
  /**
   * What the text was made from, joined over all hops. Absent where only its writer counts: for text of the user, and
   * for text that the recipient itself wrote, which it has seen.
   */
  readonly madeFrom?: readonly Origin[]
  readonly text: string
  /**
   * Whether the step cannot run without the item, because `inputFrom` names it or the prompt reads it. The step fails
   * if sharing it is denied.
   */
  readonly required: boolean
  /** Whether the item, such as a system message, must be neither shortened nor left out for its length. */
  readonly whole?: boolean
}

/** The context items of one step and the policies that decide about them. */
export interface SharedContextRequest {
  readonly userId: string
  readonly stepId: string
  /** Id of the provider that is about to be called. */
  readonly to: string
  readonly policy: DataSharingPolicy | undefined
  readonly contextPolicy: ContextPolicy
  /** Candidates, oldest first within each kind. */
  readonly items: readonly ContextItem[]
  /** Counts the tokens of a text for the model that is about to be called. */
  readonly countTokens: (text: string) => number | Promise<number>
}

/** The context items that one step may see, and the decisions about all of them. */
export interface SharedContext {
  /** Shared items in the order of the request; texts may be shortened. */
  readonly visible: readonly ContextItem[]
  readonly decisions: readonly SharingDecision[]
  /** Descriptions of cuts, for the step result. */
  readonly notes: readonly string[]
}

/**
 * Decides about each context item and fits the allowed ones into `maxSharedTokens`. Implemented by createSharingRules;
 * called once per target of each step. Keeps no state. Rejects with SharingDeniedError, code DATA_SHARING_DENIED
 * (`details` with `stepId`, `piece`, `kind`, `from`, `to`, `rule`, `origin`), when a required item is denied.
 */
export type ShareContext = (request: SharedContextRequest) => Promise<SharedContext>

/** The part of a context item that decides about it. */
export type SharingItem = Pick<ContextItem, 'kind' | 'name' | 'from' | 'madeFrom'>

/**
 * Decides about one context item by the user's policy alone: the item itself must be allowed, and everything that it
 * was made from, unless `provenance` is `direct`. Pure. Implemented by createSharingRules. Called by checkFlow and the
 * preflight before a run, and for reads of prompt functions.
 */
export type DecideSharing = (
  piece: SharingItem,
  to: string,
  policy: DataSharingPolicy | undefined,
  provenance?: ContextPolicy['provenance'],
) => SharingDecision

/** The rules of data sharing of one Polyphony instance. */
export interface SharingRules {
  readonly decideSharing: DecideSharing
  readonly shareContext: ShareContext
}
