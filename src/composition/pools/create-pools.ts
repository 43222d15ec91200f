import type { CallDeps } from '../../calls/create-call.ts'
import type { PolyphonyConfig } from '../../config/config.ts'
import { assertPools, createPoolDirectory } from '../../config/pools/pool-directory.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { ProviderService } from '../../providers/provider.ts'

/** The pools of the configuration and the providers with several keys. */
export function createPools(
  { pools, providers: accounts }: Pick<PolyphonyConfig, 'pools' | 'providers'>,
  providers: ProviderService,
) {
  const keyCounts = new Map(
    Object.entries(accounts).flatMap(([id, account]): [string, number][] =>
      'apiKeys' in account && account.apiKeys && account.apiKeys.length > 1 ? [[id, account.apiKeys.length]] : [],
    ),
  )
  // Without pools and keys nothing is built.
  const chosen: Pick<CallDeps, 'pools' | 'keyCounts' | 'isUsable'> = {
    pools: Object.keys(pools).length > 0 ? pools : undefined,
    keyCounts: keyCounts.size > 0 ? keyCounts : undefined,
    isUsable: (provider) => isUsable(providers, provider),
  }
  return {
    directory: createPoolDirectory(pools, providers.assertUsable),
    chosen,
    /** Throws CONFIG_INVALID for a member without a provider. Called when the services of files are known. */
    assert: () => assertPools({ pools, providers: accounts }, providers.assertUsable),
  }
}

/** Whether a provider is active: operators may switch one off while flows run. */
function isUsable(providers: Pick<ProviderService, 'assertUsable'>, provider: string): boolean {
  try {
    providers.assertUsable(provider)
    return true
  } catch (error) {
    if (OrchestratorError.is(error)) return false
    throw error
  }
}
