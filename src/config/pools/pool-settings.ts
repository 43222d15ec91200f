import * as z from 'zod'
import { POOL_PROVIDER } from '../../domain/definition/call/pools.ts'
import type { Target } from '../../domain/definition/flow-definition.ts'

export const POOL_STRATEGIES = ['round_robin', 'least_connections', 'weighted', 'performance_based'] as const
/** How a pool chooses among its members. */
export type PoolStrategy = (typeof POOL_STRATEGIES)[number]

const milliseconds = z.number().int().positive()

const memberSchema = z.strictObject({
  /** `provider/model` of a configured provider; not another pool. */
  model: z.string().superRefine((model, context) => {
    const { provider } = toMemberTarget(model)
    if (provider === POOL_PROVIDER) context.addIssue({ code: 'custom', message: 'expected a provider and not another pool' })
    else if (!/^[^/]+\/./.test(model)) context.addIssue({ code: 'custom', message: 'expected "provider/model"' })
  }),
  /** Share of the calls in relation to the other members; default 1. `round_robin` does not read it. */
  weight: z.number().positive().max(1_000).default(1),
  /** Members of a higher tier are asked only while no member of a lower one can be; default 1. */
  tier: z.number().int().min(1).max(100).default(1),
})

const ejectionSchema = z
  .strictObject({
    /** Failures in a row after which a member gets no calls; default 3. */
    failures: z.number().int().positive().default(3),
    /** Milliseconds until an ejected member is tried again; doubles with every further ejection. Default 5,000. */
    baseMs: milliseconds.default(5_000),
    /** Upper bound on those milliseconds; default 60,000. */
    maxMs: milliseconds.default(60_000),
  })
  .refine(({ baseMs, maxMs }) => baseMs <= maxMs, { path: ['maxMs'], message: 'expected at least baseMs' })

/** One pool: several models of which one answers each call. */
export const poolSchema = z.strictObject({
  /** The models that may answer. */
  members: z
    .array(memberSchema)
    .min(1)
    .max(100)
    .superRefine((members, context) => {
      const seen = new Set<string>()
      for (const [index, { model }] of members.entries()) {
        if (seen.has(model)) {
          context.addIssue({
            code: 'custom',
            path: [index, 'model'],
            message: 'expected another model than that of an earlier member',
          })
        }
        seen.add(model)
      }
    }),
  /**
   * `round_robin`: one after another. `weighted`: the same, as often as their weights say. `least_connections`: the one
   * with the fewest calls in flight. `performance_based`, the default: the one that answered fastest, calls in flight
   * counted.
   */
  strategy: z.enum(POOL_STRATEGIES).default('performance_based'),
  /** When a member that fails is left out, and for how long. */
  ejection: ejectionSchema.prefault({}),
  /**
   * What happens while no member can be asked. `wait`, the default: the call waits for the first one that can, as far
   * as its retries and its time allow. `try_all`: all are asked nevertheless. `fail`: the call fails at once.
   */
  whenNobody: z.enum(['wait', 'try_all', 'fail']).default('wait'),
  /** Calls that may wait for the rates of one member; further ones go to others. Default 1,000. */
  maxQueue: z.number().int().min(0).default(1_000),
  /** Milliseconds after which a measured time counts about a third. Default 10,000. */
  decayMs: milliseconds.default(10_000),
  /** Milliseconds that a member without a measured time is taken to need. Default: the median of the others. */
  assumeMs: milliseconds.optional(),
})

export type PoolSettings = z.output<typeof poolSchema>
export type PoolMemberSettings = PoolSettings['members'][number]

/** Pools by the name in `pool/<name>`. */
export const poolsSchema = z.record(
  z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/, 'expected a name of at most 64 letters, digits, "_", "." and "-"'),
  poolSchema,
)

/** Splits `provider/model` at the first slash. */
export function toMemberTarget(model: string): Target {
  const slash = model.indexOf('/')
  return { provider: model.slice(0, Math.max(0, slash)), model: model.slice(slash + 1) }
}
