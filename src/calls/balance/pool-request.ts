import { isPool } from '../../domain/definition/call/pools.ts'
import type { Target } from '../../domain/definition/flow-definition.ts'
import type { CallRequest, PreparedRequest } from '../call.ts'

/**
 * A request whose pools are prepared later, for the members that are asked. Other targets are prepared as before. A
 * request without pools is returned unchanged.
 */
export const withPools = (request: CallRequest): CallRequest =>
  request.targets.some(isPool)
    ? {
        targets: request.targets,
        prepare: (target) => (isPool(target) ? toPoolRequest(target, request) : request.prepare(target)),
      }
    : request

/** A request that holds no prompt, only the way to prepare one for each member. */
function toPoolRequest({ provider, model }: Target, { prepare, writer }: CallRequest): PreparedRequest {
  const requests = new Map<string, ReturnType<CallRequest['prepare']>>()
  return {
    provider,
    model,
    messages: [],
    settings: {},
    countInputTokens: async () => 0,
    ...(writer && { writer }),
    prepareFor(member) {
      const name = `${member.provider}/${member.model}`
      const known = requests.get(name)
      if (known) return known
      const request = prepare(member)
      requests.set(name, request)
      return request
    },
  }
}
