import type { Clock } from '../../async/clock.ts'
import { untilAborted } from '../../async/until-aborted.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { AttemptCall, AttemptContext, CallLayer, CallResponse, PreparedRequest } from '../call.ts'
import { type Evidence, mayAskAnother, NOTHING, SILENT, toEvidence, WORKS } from './evidence.ts'
import type { Group, Member } from './group.ts'
import { type MemberOutcome, roundFailure } from './round-failure.ts'

/** Finds the members among which a request is balanced; `undefined` for a request to one account. */
export type GroupOf = (request: PreparedRequest) => Group | undefined

/**
 * Asks the members of a pool, or the keys of a provider, one after another until one answers. A member that fails is
 * left for the next one at once; each is asked once per round. When all have failed, the error with the shortest wait
 * is the outcome, and the layer `retry` waits and starts the next round. A member that may not see the content
 * (DATA_SHARING_DENIED) is passed over. The member that `Group.preferred` names comes first while it works.
 * Other requests pass untouched.
 */
export const balance = (groupOf: GroupOf, clock: Clock): CallLayer => {
  return (next) => (request, context) => {
    const found = groupOf(request)
    const group = request.writer?.only ? found?.only(request.writer) : found
    return group ? askInTurn(group, next, request, context, clock) : next(request, context)
  }
}

async function askInTurn(
  group: Group,
  next: AttemptCall,
  request: PreparedRequest,
  context: AttemptContext,
  clock: Clock,
): Promise<CallResponse> {
  const asked = new Set<Member>()
  const outcomes: MemberOutcome[] = []
  const notes: string[] = []
  let failure: OrchestratorError | undefined
  for (;;) {
    const member = group.pick(asked, context.onDelta !== undefined, asked.size === 0, group.preferred(request))
    if (!member) throw roundFailure(group, outcomes, context)
    asked.add(member)
    const visit = beginVisit(member, context, clock)
    try {
      const prepared = await prepareFor(member, request, context)
      if (!prepared) throw new OrchestratorError('INTERNAL', `Expected a request for ${member.id} of ${group.name}`)
      if (failure) notifyMove(failure, prepared, context)
      const response = await next(prepared, visit.context(group.maxQueue))
      visit.end(WORKS, response)
      return notes.length === 0 ? response : { ...response, notes: [...response.notes, ...notes] }
    } catch (error) {
      visit.end(evidenceOf(error, request, context, clock))
      const isDenied = OrchestratorError.is(error) && error.code === 'DATA_SHARING_DENIED'
      if (context.signal.aborted || !(isDenied || mayMove(error, group, context))) throw error
      outcomes.push({ member, error })
      notes.push(
        isDenied ? `${member.id} was passed over: ${error.code}` : `${member.id} failed with ${error.code}; another was asked`,
      )
      if (!isDenied) failure = error
    }
  }
}

/** The request to one member: with the context that it may see, or with its key. */
function prepareFor(
  { target, account }: Member,
  request: PreparedRequest,
  { signal }: AttemptContext,
): Promise<PreparedRequest> | PreparedRequest | undefined {
  if (account !== undefined) return { ...request, account }
  const prepared = request.prepareFor?.(target)
  return prepared instanceof Promise ? untilAborted(prepared, signal) : prepared
}

const mayMove = (
  error: unknown,
  group: Group,
  { progress, restartAfterFirstToken }: AttemptContext,
): error is OrchestratorError => mayAskAnother(error, group) && (!progress.textDelivered || restartAfterFirstToken)

function notifyMove(
  failure: OrchestratorError,
  { provider, model }: PreparedRequest,
  { progress, onRetry }: AttemptContext,
): void {
  onRetry?.({
    attempt: progress.attempts,
    delayMs: 0,
    error: failure.toJSON(),
    provider,
    model,
    restart: progress.textDelivered,
  })
  progress.textDelivered = false
}

/** A call that was ended from outside says nothing about the member, unless its own time was over without an answer. */
function evidenceOf(error: unknown, { provider, model }: PreparedRequest, context: AttemptContext, clock: Clock): Evidence {
  const { signal, progress } = context
  if (!signal.aborted) return toEvidence(error)
  const reason: unknown = signal.reason
  if (!OrchestratorError.is(reason)) return NOTHING
  const { code, details } = reason
  const isShare = details.timeout === 'share' && details.provider === provider && details.model === model
  const isTimeout = code === 'STEP_TIMEOUT' && clock.now() >= (progress.endsAtMs ?? Number.POSITIVE_INFINITY)
  return isShare || isTimeout ? SILENT : NOTHING
}

/** Counts a call to a member, and measures it if the strategy of the group reads times. */
function beginVisit(member: Member, context: AttemptContext, clock: Clock) {
  const { onDelta, onActivity, onAttempt } = context
  const { health, measured } = member
  const streamed = onDelta !== undefined
  const visit = health.enter()
  const measurement = measured?.begin()
  member.inFlight += 1
  let isCached = false
  let firstChunkAt: number | undefined
  let startedAt: number | undefined
  let lastedMs = 0

  const sawChunk = () => {
    firstChunkAt ??= clock.now()
  }
  const measuring: Partial<AttemptContext> | undefined = measured && {
    onActivity: () => {
      sawChunk()
      onActivity?.()
    },
    onDelta:
      onDelta &&
      ((text) => {
        sawChunk()
        onDelta(text)
      }),
  }

  return {
    /** The context of the call, in which a pause of the member is an error and not a wait. */
    context: (queueLimit: number): AttemptContext => ({
      ...context,
      queueLimit,
      ...measuring,
      onAttempt: (attempt) => {
        isCached = attempt.cached === true
        // Waits for rates, limits and the journal are no times of the member.
        startedAt = attempt.startedAt.getTime()
        lastedMs = attempt.executionTime
        onAttempt(attempt)
      },
    }),
    end(evidence: Evidence, response?: CallResponse): void {
      member.inFlight -= 1
      // A kept answer was not made by the member, so that it says nothing about it.
      health.leave(visit, isCached ? NOTHING : evidence)
      if (!measured || !measurement || startedAt === undefined || isCached || !measured.counts(measurement)) return
      if (response && streamed) measured.firstChunk(Math.max(0, (firstChunkAt ?? clock.now()) - startedAt))
      else if (response) measured.whole(response.usage, response.text, lastedMs)
      else if (evidence.kind === 'fault') measured.failed(streamed)
    },
  }
}
