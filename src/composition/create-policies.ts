import type { PolyphonyConfig } from '../config/config.ts'
import { createApiKeyService } from '../policies/api-keys.ts'
import { createDataSharingService } from '../policies/data-sharing.ts'
import { createPermissionService } from '../policies/permissions.ts'
import type { Store } from '../repositories/repository.ts'

/**
 * Rights on threads, consent to data sharing, and API keys; `config.permissions` replaces the permission service of the
 * database.
 */
export function createPolicies({ permissions, policyCacheMs: cacheMs }: PolyphonyConfig, store: Store) {
  const findCreator = async (threadId: string) => (await store.threads.find(threadId))?.userId
  return {
    permissions: permissions ?? createPermissionService(store.permissions, { cacheMs, findCreator }),
    dataSharing: createDataSharingService(store.dataSharing, { cacheMs }),
    apiKeys: createApiKeyService(store.apiKeys, { cacheMs }),
  }
}
