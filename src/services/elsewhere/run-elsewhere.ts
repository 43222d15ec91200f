import { withCallFacts } from '../../domain/execution/call-facts.ts'
import type { ServiceState } from '../../domain/services/service-state.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/** A run of a service that another process supervises. */
export interface RunElsewhere {
  readonly serviceId: string
  readonly address: string
  readonly state: ServiceState
  /** When this process saw the state first. */
  readonly since: Date
  readonly ownerId: string
  readonly host: string
  /** Differs from the numbers of all other runs of the service in this process. */
  readonly run: number
  /** Aborts when the run ends or stops answering. */
  readonly ended: AbortSignal
  /** Why this process may not call the address. */
  readonly refused?: OrchestratorError
}

/** Milliseconds until a service of another process that does not answer is asked for again. */
const WAIT_MS = 1_000

export const isAnswering = ({ state }: Pick<RunElsewhere, 'state'>): boolean => state === 'running' || state === 'degraded'

/** Whether the run gets calls that may go elsewhere as well; see ServiceStanding. */
export function standingElsewhere({ state, run, refused }: RunElsewhere) {
  if (refused) {
    return { mayAsk: false, run, mayReturn: false, waitMs: Number.POSITIVE_INFINITY, code: 'SERVICE_NOT_RUNNING' } as const
  }
  if (state === 'running') return { mayAsk: true, run } as const
  return { mayAsk: false, run, mayReturn: true, waitMs: WAIT_MS, code: 'PROVIDER_UNAVAILABLE' } as const
}

/** Why the run does not answer as it should, in words for people; `undefined` if it runs. */
export function hindranceElsewhere({ serviceId, state, host, refused }: RunElsewhere) {
  if (refused) {
    const message = `the service "${serviceId}" runs on ${host} at an address that this process may not call: ${refused.message}`
    return { message, startsByItself: false }
  }
  if (state === 'running') return undefined
  return { message: `the service "${serviceId}" is ${state} on ${host}; it will run by itself`, startsByItself: true }
}

/** Throws PROVIDER_UNAVAILABLE with the wait, and SERVICE_ADDRESS_REFUSED. */
export function assertAnswers({ serviceId, state, host, refused }: RunElsewhere): void {
  if (refused) throw refused
  if (isAnswering({ state })) return
  const message = `the service "${serviceId}" does not run yet (${state} on another machine)`
  const error = new OrchestratorError('PROVIDER_UNAVAILABLE', message, {
    details: { provider: serviceId, service: serviceId, state, host, notSent: true, retryAfterMs: WAIT_MS },
  })
  throw withCallFacts(error, { retryAfterMs: WAIT_MS, generated: false })
}
