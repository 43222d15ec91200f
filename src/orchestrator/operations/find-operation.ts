import { isPool } from '../../domain/definition/call/pools.ts'
import type { Target } from '../../domain/definition/flow-definition.ts'
import { findSuggestion, withSuggestion } from '../../domain/definition/suggestion.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { ProviderOperation } from '../../providers/provider.ts'

/**
 * The operations of a provider; `undefined` for one that answers with models. Rejects as `ProviderService.get` and
 * `Provider.generate` do. Implemented by createModels.
 */
export type FindOperations = (provider: string, signal?: AbortSignal) => Promise<readonly ProviderOperation[] | undefined>

/** The operation that a target names. Throws PROVIDER_REJECTED for a model, PROVIDER_NOT_CONFIGURED without one. */
export async function findOperation(
  operationsOf: FindOperations,
  { provider, model }: Target,
  signal?: AbortSignal,
): Promise<ProviderOperation> {
  const operations = await operationsOf(provider, signal)
  if (!operations) {
    throw new OrchestratorError(
      'PROVIDER_REJECTED',
      `Expected an operation for action "run", found ${provider}/${model}: "${provider}" answers with models. Name a function, an HTTP operation or an MCP tool`,
      { details: { provider, model } },
    )
  }
  const found = operations.find(({ name }) => name === model)
  if (found) return found
  const names = operations.map(({ name }) => name)
  const suggestion = findSuggestion(model, names)
  const message = withSuggestion(`provider "${provider}" has no operation "${model}"`, suggestion)
  throw new OrchestratorError('PROVIDER_NOT_CONFIGURED', `${message} (it has: ${listed(names)})`, {
    details: { provider, operation: model, ...(suggestion && { suggestion }) },
  })
}

/**
 * The operation that a target names, for a step that may name a pool of operations. Throws as `findOperation` does, and
 * PROVIDER_REJECTED for a member of a pool that is not idempotent: a second member would repeat an effect of the first.
 */
export async function findMemberOperation(
  operationsOf: FindOperations,
  step: Target,
  member: Target,
  signal?: AbortSignal,
): Promise<ProviderOperation> {
  const operation = await findOperation(operationsOf, member, signal)
  if (!isPool(step) || operation.idempotent) return operation
  const { provider, model } = member
  throw new OrchestratorError(
    'PROVIDER_REJECTED',
    `Expected idempotent operations in pool "${step.model}", found ${provider}/${model}: a call that failed would be repeated by another member`,
    { details: { provider, model, pool: step.model } },
  )
}

const MAX_LISTED = 20

const listed = (names: readonly string[]): string => {
  if (names.length === 0) return 'none'
  const more = names.length > MAX_LISTED ? `, and ${names.length - MAX_LISTED} more` : ''
  return `${names.slice(0, MAX_LISTED).join(', ')}${more}`
}
