import { callFactsOf, withCallFacts } from '../../domain/execution/call-facts.ts'
import { ERROR_CODES, type ErrorCode } from '../../errors/error-codes.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { AttemptContext } from '../call.ts'
import type { Group, Member } from './group.ts'
import type { Absence } from './health.ts'

/** What became of one member in a round. */
export interface MemberOutcome {
  readonly member: Member
  readonly error: OrchestratorError
}

/** Why one member gives no answer, for the details of the error. */
interface Reason {
  readonly member: string
  readonly state: 'failed' | 'denied' | 'inactive' | Absence['state']
  readonly code: ErrorCode
  readonly retryAfterMs?: number
}

/**
 * The outcome of a round in which no member answered: the error of the one that may answer soonest, with the reasons of
 * all. If that one was not asked, PROVIDER_UNAVAILABLE with the time until it can be; also if the errors differ and
 * none may pass by itself.
 */
export function roundFailure(group: Group, outcomes: readonly MemberOutcome[], { progress }: AttemptContext): OrchestratorError {
  const failures = outcomes.filter(({ error }) => error.code !== 'DATA_SHARING_DENIED')
  const [denied] = outcomes
  // Every member may be asked and none may see the content: waiting cannot help.
  if (denied && failures.length === 0 && outcomes.length === group.members.length) return denied.error
  const absent = group.members.flatMap((member) => {
    const isAsked = outcomes.some((outcome) => outcome.member === member)
    const absence = isAsked ? undefined : group.absenceOf(member)
    return absence ? [{ member, absence }] : []
  })
  const details = { ...group.facts, members: group.members.map((member) => reasonOf(group, member, outcomes)) }
  const soonest = failures.toSorted((a, b) => waitAfter(a.error) - waitAfter(b.error))[0]
  const returning = absent.filter(({ absence }) => absence.mayReturn)
  const waitMs = Math.min(...returning.map(({ absence }) => absence.waitMs))
  const isCertain = soonest && (soonest.error.retryable || failures.every(({ error }) => error.code === soonest.error.code))
  if (isCertain && waitAfter(soonest.error) <= waitMs) {
    return withCallFacts(soonest.error.with(details), callFactsOf(soonest.error))
  }
  // Waiting makes sense only without a fallback.
  const mayWait = group.whenNobody === 'wait' && Number.isFinite(waitMs) && progress.targetsLeft === 0
  const names = group.members.map(({ id }) => id).join(', ')
  const reasons = details.members.map(({ member, state, code }) => `${member} ${state} after ${code}`).join('; ')
  const error = new OrchestratorError('PROVIDER_UNAVAILABLE', `Expected one of ${names} of ${group.name} to answer; ${reasons}`, {
    details: { ...details, noMember: true, ...(Number.isFinite(waitMs) && { retryAfterMs: waitMs }) },
    retryable: mayWait,
  })
  return withCallFacts(error, { generated: false, ...(Number.isFinite(waitMs) && { retryAfterMs: waitMs }) })
}

/** Milliseconds until the request may be repeated; without a wait of its own at once. */
function waitAfter(error: OrchestratorError): number {
  if (!error.retryable || !ERROR_CODES[error.code].retried) return Number.POSITIVE_INFINITY
  return callFactsOf(error).retryAfterMs ?? 0
}

function reasonOf(group: Group, member: Member, outcomes: readonly MemberOutcome[]): Reason {
  const outcome = outcomes.find((candidate) => candidate.member === member)
  if (outcome) {
    const { code } = outcome.error
    const { retryAfterMs } = callFactsOf(outcome.error)
    const state = code === 'DATA_SHARING_DENIED' ? 'denied' : 'failed'
    return { member: member.id, state, code, ...(retryAfterMs !== undefined && { retryAfterMs }) }
  }
  const absence = group.absenceOf(member)
  if (!absence) return { member: member.id, state: 'inactive', code: 'PROVIDER_INACTIVE' }
  const { state, code, waitMs } = absence
  return { member: member.id, state, code, ...(Number.isFinite(waitMs) && { retryAfterMs: waitMs }) }
}
