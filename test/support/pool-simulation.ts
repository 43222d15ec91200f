import type { Clock } from '../../src/async/clock.ts'
import type { Standing } from '../../src/calls/balance/standing.ts'
import type { PreparedRequest } from '../../src/calls/call.ts'
import { createCall } from '../../src/calls/create-call.ts'
import { type PoolSettings, poolSchema } from '../../src/config/pools/pool-settings.ts'
import type { ModelResponse } from '../../src/domain/execution/model-call.ts'
import type { Attempt } from '../../src/domain/execution/step-result.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { callPorts } from './call-ports.ts'
import { answer, callContext, prepared } from './calls.ts'

/** Chance that is the same in every run (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** A clock whose time jumps to the next timer. */
export function virtualClock(random: () => number) {
  const timers: { at: number; order: number; run: (() => void) | undefined }[] = []
  let now = 0
  let order = 0
  const clock: Clock = {
    now: () => now,
    random,
    startTimer(delayMs, run) {
      const timer: (typeof timers)[number] = { at: now + delayMs, order: order++, run }
      timers.push(timer)
      return () => {
        timer.run = undefined
      }
    },
  }
  return {
    clock,
    /** Runs until no timer is left; promises settle between two of them. */
    async run(): Promise<void> {
      for (;;) {
        await new Promise((resolve) => setImmediate(resolve))
        let next: (typeof timers)[number] | undefined
        for (const timer of timers)
          if (!next || timer.at < next.at || (timer.at === next.at && timer.order < next.order)) next = timer
        if (!next) return
        timers.splice(timers.indexOf(next), 1)
        if (!next.run) continue
        now = Math.max(now, next.at)
        next.run()
      }
    },
  }
}

/** What one member does with one request; absent fields: it answers after `ms`. */
export interface SimulatedAnswer {
  readonly ms: number
  readonly fails?: boolean
}

export interface Simulation {
  readonly seed?: number
  readonly pool: Partial<PoolSettings>
  /** By model, such as `a/m`. `atMs` is the time since the start. */
  readonly members: Readonly<Record<string, (atMs: number, random: () => number) => SimulatedAnswer>>
  readonly callsPerSecond: number
  readonly seconds: number
  readonly weights?: Readonly<Record<string, number>>
  readonly maxRetries?: number
  /** State of the services behind the members, by the time since the start. Default: none stands behind them. */
  readonly standing?: (provider: string, atMs: number) => Standing | undefined
}

export interface SimulatedCall {
  readonly startedAtMs: number
  readonly lastedMs: number
  readonly attempts: readonly Attempt[]
  /** The member that answered; absent if the call failed. */
  readonly by?: string
  readonly failed?: string
}

/** Calls a pool at the times of a Poisson process and returns what became of every call. */
export async function simulate({
  seed = 1,
  pool,
  members,
  callsPerSecond,
  seconds,
  weights = {},
  maxRetries = 2,
  standing,
}: Simulation): Promise<readonly SimulatedCall[]> {
  const random = seededRandom(seed)
  const { clock, run } = virtualClock(random)
  const settings = poolSchema.parse({
    ...pool,
    members: Object.keys(members).map((model) => ({ model, weight: weights[model] })),
  })
  const serve = (request: PreparedRequest): Promise<ModelResponse> =>
    new Promise((resolve, reject) => {
      const { ms, fails } = members[`${request.provider}/${request.model}`]?.(clock.now(), random) ?? { ms: 0 }
      clock.startTimer(ms, () =>
        fails ? reject(new OrchestratorError('PROVIDER_UNAVAILABLE', 'connection refused')) : resolve(answer('ok')),
      )
    })
  const call = createCall(
    callPorts({
      attempt: serve,
      pools: { all: settings },
      clock,
      ...(standing && { standing: (provider) => standing(provider, clock.now()) }),
    }),
  )
  const calls: SimulatedCall[] = []

  const callOnce = async () => {
    const startedAtMs = clock.now()
    const context = callContext({ maxRetries })
    const request = { targets: [{ provider: 'pool', model: 'all' }], prepare: (target: object) => prepared(target) }
    const outcome = await call(request, context).then(
      ({ provider, requestedModel }) => ({ by: `${provider}/${requestedModel}` }),
      (error) => ({ failed: OrchestratorError.from(error).code }),
    )
    calls.push({ startedAtMs, lastedMs: clock.now() - startedAtMs, attempts: context.attempts, ...outcome })
  }
  const arrive = () => {
    if (clock.now() >= seconds * 1_000) return
    void callOnce()
    clock.startTimer((-Math.log(1 - random()) / callsPerSecond) * 1_000, arrive)
  }
  arrive()
  await run()
  return calls
}

export const percentile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.ceil(values.length * share) - 1] ?? 0

/** Share of the calls that each member answered. */
export function sharesOf(calls: readonly SimulatedCall[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const { by } of calls) if (by) counts[by] = (counts[by] ?? 0) + 1
  return Object.fromEntries(Object.entries(counts).map(([model, count]) => [model, count / calls.length]))
}
