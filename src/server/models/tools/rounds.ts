import type { WaitingStep } from '../../../orchestrator/waiting/waiting-list.ts'
import type { ServerDeps } from '../../server-deps.ts'
import type { Part } from '../answer.ts'
import { type CallerCall, callerCallsOf } from './caller-call.ts'

/** One call of a caller tool, with what becomes of it. */
export interface MadeCall extends CallerCall {
  readonly path: string
  readonly hash: string
  readonly since: Date
  /** When its result came, or its time was over. */
  readonly endedAt?: Date
}

/** All calls of caller tools that a flow has made, in their order. Rejects with FLOW_NOT_FOUND. */
export async function readCalls(
  { orchestrator }: Pick<ServerDeps, 'orchestrator'>,
  flowId: string,
  userId: string,
): Promise<readonly MadeCall[]> {
  return callsAmong(await orchestrator.listWaiting(userId, { flowId, ended: true }))
}

/** The calls of caller tools among everything that a flow has waited for, in their order. */
export function callsAmong(waits: readonly WaitingStep[]): readonly MadeCall[] {
  const made = waits.flatMap((wait) => {
    const { path, hash, since, endedAt } = wait
    return callerCallsOf([wait]).map((call) => ({ ...call, path, hash, since, ...(endedAt && { endedAt }) }))
  })
  return made.sort((a, b) => a.since.getTime() - b.since.getTime() || (a.path < b.path ? -1 : 1))
}

/** The part of a flow after its first `count` calls, up to the next calls that its client makes together. */
export interface Round {
  /** Empty if the flow has called nothing since. */
  readonly calls: readonly MadeCall[]
  readonly part: Part
}

export function roundAfter(made: readonly MadeCall[], count: number): Round {
  const calls: MadeCall[] = []
  // Calls that are made after one of them has its result belong to a later round.
  let endsAt = Number.POSITIVE_INFINITY
  for (const call of made.slice(count)) {
    if (call.since.getTime() > endsAt) break
    calls.push(call)
    endsAt = Math.min(endsAt, call.endedAt?.getTime() ?? endsAt)
  }
  const after = made[count - 1]?.endedAt
  const until = Number.isFinite(endsAt) ? new Date(endsAt) : undefined
  return { calls, part: { ...(after && { after }), ...(until && { until }) } }
}
