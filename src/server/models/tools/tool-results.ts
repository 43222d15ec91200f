import type { OrchestrationFlow } from '../../../domain/execution/flow.ts'
import { flowOfCallerCall } from '../../../domain/tools/caller-call-id.ts'
import { MAX_DATA_LENGTH } from '../../../domain/waiting/wait.ts'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import type { ServerDeps } from '../../server-deps.ts'
import type { SentResult } from '../content/tool-messages.ts'
import { refusal } from '../request-errors.ts'
import { callsAmong } from './rounds.ts'

/** How far a flow has the results of its calls. */
export interface AnsweredFlow {
  /** Ids of the calls that the request has answered. */
  readonly answered: ReadonlySet<string>
  /** Ids of calls that had no result, where the results of the request belong to earlier ones. */
  readonly open: ReadonlySet<string>
  /** Hashes of the waits that had ended before the request, decisions of users among them. */
  readonly over: ReadonlySet<string>
  /** Number of calls of the flow up to the last answered one: names the part of the flow that continues from there. */
  readonly count: number
}

/** Codes of a result that came too late: it was sent before, or the flow has ended, which its updates report. */
const TOO_LATE: ReadonlySet<string> = new Set(['APPROVAL_DECIDED', 'APPROVAL_EXPIRED', 'STEP_NOT_WAITING'])

/**
 * Gives the results of a request to their flow, which waits for them. Sending the same ones again changes nothing.
 * Rejects with INPUT_INVALID for the id of a call that the flow has not made, for calls without a result, and for a
 * result that is too long: the flow then has none of them.
 */
export async function giveResults(
  { orchestrator }: Pick<ServerDeps, 'orchestrator'>,
  flow: OrchestrationFlow,
  results: readonly SentResult[],
): Promise<AnsweredFlow> {
  const { userId } = flow
  const given = new Map(results.map((result) => [result.id, result]))
  const waits = await orchestrator.listWaiting(userId, { flowId: flow.id, ended: true })
  const made = callsAmong(waits)
  const unknown = results.find(({ id }) => !made.some((call) => call.id === id))
  if (unknown) throw unknownCall(unknown.id, unknown.param)
  const open = made.filter(({ endedAt }) => !endedAt)
  const due = open.filter(({ id }) => given.has(id))
  const missing = open.flatMap(({ id }) => (given.has(id) ? [] : id))
  const [first] = results
  if (due.length > 0 && missing.length > 0) {
    const message = `expected a result for every call of the flow, found none for ${missing.join(', ')}`
    throw refusal(first?.param ?? null, `${first?.param}: ${message}`, 'invalid_value')
  }
  // Before the first result is given: a request that is refused changes nothing.
  for (const { id } of due) assertFits(given.get(id))
  for (const { path, hash, id } of due) {
    const data = given.get(id)?.content ?? ''
    await orchestrator.signal(flow.id, userId, path, { data, hash }).catch((error: unknown) => {
      if (!OrchestratorError.is(error) || !TOO_LATE.has(error.code)) throw error
    })
  }
  const count = made.findLastIndex(({ id }) => given.has(id)) + 1
  const over = new Set(waits.flatMap(({ hash, endedAt }) => (endedAt ? [hash] : [])))
  return { answered: new Set(given.keys()), open: new Set(missing), over, count }
}

function assertFits(result: SentResult | undefined): void {
  if (!result) return
  const { length } = JSON.stringify(result.content)
  if (length <= MAX_DATA_LENGTH) return
  const message = `expected a result of at most ${MAX_DATA_LENGTH} characters as JSON, found ${length}`
  throw refusal(result.param, `${result.param}: ${message}`, 'invalid_value')
}

/**
 * The flow of the user whose calls the results answer. Rejects with INPUT_INVALID for an id of another form, of another
 * user, and for results of several flows.
 */
export async function flowOfResults(
  { orchestrator }: Pick<ServerDeps, 'orchestrator'>,
  userId: string,
  results: readonly SentResult[],
): Promise<OrchestrationFlow> {
  let found: OrchestrationFlow | undefined
  for (const { id, param } of results) {
    const flowId = flowOfCallerCall(id)
    found ??= flowId === undefined ? undefined : await getOwnFlow(orchestrator, flowId, userId)
    if (!found || found.id !== flowId) throw unknownCall(id, param)
  }
  if (!found) throw new OrchestratorError('INTERNAL', 'Expected a result of a tool, found none')
  return found
}

/** Undefined for a flow of another user, also if this one may read it, and for an unknown one. */
async function getOwnFlow(orchestrator: ServerDeps['orchestrator'], flowId: string, userId: string) {
  try {
    const flow = await orchestrator.getFlow(flowId, userId, { steps: 'final' })
    return flow.userId === userId ? flow : undefined
  } catch (error) {
    if (OrchestratorError.is(error) && error.code === 'FLOW_NOT_FOUND') return undefined
    throw error
  }
}

const unknownCall = (id: string, param: string): OrchestratorError => {
  const message = `expected the id of a tool call of a flow of yours, all of one flow, found "${id.slice(0, 100)}"`
  return refusal(param, `${param}: ${message}`, 'invalid_value')
}
