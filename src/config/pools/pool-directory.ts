import { isPool, POOL_PROVIDER, type PoolDirectory } from '../../domain/definition/call/pools.ts'
import type { Target } from '../../domain/definition/flow-definition.ts'
import { findSuggestion, quoted, withSuggestion } from '../../domain/definition/suggestion.ts'
import { FUNCTION_PROVIDER } from '../../domain/tools/functions.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { type PoolSettings, toMemberTarget } from './pool-settings.ts'

/** Finds the members of pools. `assertProvider` is `assertUsable` of the provider service. */
export function createPoolDirectory(
  pools: Readonly<Record<string, PoolSettings>>,
  assertProvider: (provider: string) => void,
): PoolDirectory {
  const pooled = new Map(
    Object.entries(pools).map(([name, { members }]) => [name, members.map(({ model }) => toMemberTarget(model))]),
  )

  function assertPool(name: string): void {
    const members = pooled.get(name)
    if (!members) throw unknownPool(name, [...pooled.keys()])
    const problems = members.flatMap(({ provider }) => findError(provider, assertProvider) ?? [])
    const [first] = problems
    if (first && problems.length === members.length) throw first
  }

  return {
    membersOf: (target) => (isPool(target) ? (pooled.get(target.model) ?? NOBODY) : [target]),
    assertUsable: (target) => (isPool(target) ? assertPool(target.model) : assertProvider(target.provider)),
  }
}

function unknownPool(name: string, configured: readonly string[]): OrchestratorError {
  const suggestion = findSuggestion(name, configured)
  const message = withSuggestion(`pool ${quoted(name)} is not configured`, suggestion)
  return new OrchestratorError('PROVIDER_NOT_CONFIGURED', `${message} (configured pools: ${configured.join(', ') || 'none'})`, {
    details: { pool: name, configured, ...(suggestion && { suggestion }) },
  })
}

const NOBODY: readonly Target[] = []

/** Throws CONFIG_INVALID for a member whose provider is not configured, and for a provider with the id of all pools. */
export function assertPools(
  { pools, providers }: { readonly pools: Readonly<Record<string, PoolSettings>>; readonly providers: Readonly<object> },
  assertConfigured: (provider: string) => void,
): void {
  const problems = Object.entries(pools).flatMap(([name, { members }]) =>
    members.flatMap(({ model }, index) => {
      const found = findProblem(toMemberTarget(model).provider, assertConfigured)
      return found ? [{ key: `pools.${name}.members.${index}.model`, expected: found }] : []
    }),
  )
  if (Object.hasOwn(providers, POOL_PROVIDER)) {
    problems.push({
      key: `providers.${POOL_PROVIDER}`,
      expected: `expected another id, because "${POOL_PROVIDER}/name" names a pool`,
    })
  }
  if (problems.length === 0) return
  const lines = problems.map(({ key, expected }) => `${key}: ${expected}`)
  throw new OrchestratorError('CONFIG_INVALID', lines.join('\n'), { details: { problems } })
}

/** A provider that is only inactive may be activated later, and functions may be registered later. */
function findProblem(provider: string, assertConfigured: (provider: string) => void): string | undefined {
  if (provider === FUNCTION_PROVIDER) return undefined
  const error = findError(provider, assertConfigured)
  return !error || error.code === 'PROVIDER_INACTIVE' ? undefined : `expected a configured provider: ${error.message}`
}

function findError(provider: string, assertProvider: (provider: string) => void): OrchestratorError | undefined {
  try {
    assertProvider(provider)
    return undefined
  } catch (error) {
    return OrchestratorError.from(error)
  }
}
