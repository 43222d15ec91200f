import type { PolyphonyConfig } from '../../config/config.ts'
import { hasOperations, type RegisteredFunctions } from '../../config/operations/function-settings.ts'
import { CALLER_PROVIDER } from '../../domain/tools/caller-tools.ts'
import { FUNCTION_PROVIDER } from '../../domain/tools/functions.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { createFunctionProvider } from '../../providers/functions/function-provider.ts'
import type { CallPrice } from '../../providers/models/prices.ts'
import type { ConfiguredProvider } from '../../providers/provider-entries.ts'

/** Ids that name something else in `model`: `function/…`, `pool/…`, and `hosted/…` and `caller/…` among tools. */
export const RESERVED_IDS: readonly string[] = [FUNCTION_PROVIDER, 'pool', 'hosted', CALLER_PROVIDER]

type OperationsConfig = Pick<PolyphonyConfig, 'mcp'> & {
  /** A live view: code may register further ones. */
  readonly functions: RegisteredFunctions
  readonly providers: Readonly<Record<string, Exclude<ConfiguredProvider, { readonly kind: 'mcp' }>>>
}

/** Providers of a configuration by id: accounts, servers with operations, and the functions. Throws CONFIG_INVALID. */
export function createAccounts({ providers, mcp, functions }: OperationsConfig): Readonly<Record<string, ConfiguredProvider>> {
  /** A provider object whose operations stand in for functions, where none is registered. */
  const isOwnFunctions = (id: string): boolean => {
    const given = Object.hasOwn(providers, id) ? providers[id] : undefined
    return (
      id === FUNCTION_PROVIDER && !hasOperations(functions) && given !== undefined && 'generate' in given && 'operations' in given
    )
  }
  for (const [group, ids] of [['providers', Object.keys(providers)] as const, ['mcp', Object.keys(mcp)] as const]) {
    for (const id of ids) {
      if (RESERVED_IDS.includes(id) && !isOwnFunctions(id)) throw invalidId(`${group}.${id}`, 'which Polyphony reserves')
    }
  }
  for (const id of Object.keys(mcp))
    if (Object.hasOwn(providers, id)) throw invalidId(`mcp.${id}`, 'which an entry of providers has')
  return {
    [FUNCTION_PROVIDER]: createFunctionProvider(functions),
    ...providers,
    ...Object.fromEntries(Object.entries(mcp).map(([id, settings]) => [id, { ...settings, kind: 'mcp' as const }])),
  }
}

const invalidId = (key: string, reason: string): OrchestratorError =>
  new OrchestratorError('CONFIG_INVALID', `${key}: expected another id than one ${reason}`, { details: { key } })

/**
 * Returns a function that finds the price of one call of an operation. Functions are free unless they state a price;
 * the cost of all others is unknown without one.
 */
export function createCallPrices({
  providers,
  mcp,
  functions,
}: OperationsConfig): (provider: string, operation: string) => CallPrice | undefined {
  return (provider, operation) => {
    if (provider === FUNCTION_PROVIDER) {
      const registered = memberOf(functions, operation)
      return typeof registered === 'object' ? (toPrice(registered.price) ?? FREE) : undefined
    }
    const server = Object.hasOwn(mcp, provider) ? mcp[provider] : undefined
    if (server) return toPrice(memberOf(server.tools, operation)?.price ?? server.price)
    const account = Object.hasOwn(providers, provider) ? providers[provider] : undefined
    const operations = account && 'operations' in account ? account.operations : undefined
    return typeof operations === 'object' ? toPrice(memberOf(operations, operation)?.price) : undefined
  }
}

export const FREE: CallPrice = { costUsd: 0, source: 'free' }

const toPrice = (costUsd: number | undefined): CallPrice | undefined =>
  costUsd === undefined ? undefined : { costUsd, source: 'configured' }

const memberOf = <Member>(group: Readonly<Record<string, Member>> | undefined, name: string): Member | undefined =>
  group && Object.hasOwn(group, name) ? group[name] : undefined
