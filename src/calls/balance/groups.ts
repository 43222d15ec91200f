import { type PoolSettings, toMemberTarget } from '../../config/pools/pool-settings.ts'
import type { GroupOf } from './balance.ts'
import { createGroup, type Group, type GroupDeps } from './group.ts'

/** The pools of the configuration. */
export function poolGroups(pools: Readonly<Record<string, PoolSettings>>, deps: GroupDeps): GroupOf {
  const groups = new Map(
    Object.entries(pools).map(([name, { members, ...settings }]): [string, Group] => {
      const given = members.map(({ model, weight, tier }) => ({ id: model, target: toMemberTarget(model), weight, tier }))
      return [
        name,
        createGroup({ ...settings, name: `pool ${name}`, facts: { pool: name }, members: given, sameModel: false }, deps),
      ]
    }),
  )
  return ({ prepareFor, model }) => (prepareFor ? groups.get(model) : undefined)
}

/** Limited, because the names of models come from flows. */
const MAX_MODELS = 1_000

const KEY_SETTINGS = {
  sameModel: true,
  strategy: 'least_connections',
  ejection: { failures: 3, baseMs: 5_000, maxMs: 60_000 },
  // If all keys fail, the vendor fails: the circuit breaker decides then.
  whenNobody: 'try_all',
  maxQueue: 1_000,
  decayMs: 10_000,
} as const

/**
 * The keys of providers that have several. The health of a key is kept per model, because one model that is down must
 * not shut out the others.
 */
export function keyGroups(keyCounts: ReadonlyMap<string, number>, deps: GroupDeps): GroupOf {
  const groups = new Map<string, Group>()

  const open = (provider: string, model: string, count: number): Group => {
    const target = { provider, model }
    const members = Array.from({ length: count }, (_, account) => ({
      id: `${provider}#${account + 1}`,
      target,
      account,
      weight: 1,
      tier: 1,
    }))
    return createGroup({ ...KEY_SETTINGS, name: `the keys of ${provider}`, facts: { provider, model }, members }, deps)
  }

  return ({ provider, model }) => {
    const count = keyCounts.get(provider)
    if (count === undefined) return undefined
    const name = `${provider}/${model}`
    const group = groups.get(name) ?? open(provider, model, count)
    groups.delete(name)
    groups.set(name, group)
    const [oldest] = groups.keys()
    if (groups.size > MAX_MODELS && oldest !== undefined) groups.delete(oldest)
    return group
  }
}
