import { setMaxListeners } from 'node:events'
import pLimit from 'p-limit'
import type { Call, CallContext, CallResponse } from '../../calls/call.ts'
import type { GeneratedFile } from '../../domain/execution/model-call.ts'
import type { Attempt } from '../../domain/execution/step-result.ts'
import type { StartedCall } from '../../domain/tools/turns.ts'
import type { ResolveAttachments } from '../../domain/users/new-attachment.ts'
import type { SharingDecision } from '../../domain/users/sharing.ts'
import type { StepWait } from '../../domain/waiting/wait.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { type CallContextDeps, createCallContext, numbered } from '../steps/call-context.ts'
import { unknownOutcome } from '../steps/call-intents.ts'
import type { StepTask } from '../steps/step-inputs.ts'
import { nextAttemptNumber } from '../steps/step-record.ts'
import { awaitCaller, type CallerCallsDeps, toCallerWait } from './caller-calls.ts'
import { invalidOutput, type PlannedCall, planCall } from './planned-call.ts'
import { awaitDecision, mustAsk, toApproval, toRepetition } from './tool-approval.ts'
import { checked, parseJson } from './tool-arguments.ts'
import { keepToolFiles } from './tool-files.ts'
import { DEFAULT_RESULT_TOKENS, errorOutput, fitOutput, outputOf } from './tool-output.ts'
import { toToolRequest } from './tool-request.ts'
import { isOfCaller, type StepTool } from './tool-set.ts'
import { decideResultSharing, decideToolSharing, deniedOutput, type ToolSharingDeps, withheldOutput } from './tool-sharing.ts'
import type { ToolStep } from './tool-step.ts'
import { addResult, announceCall } from './tool-updates.ts'
import type { OpenTurn } from './turn-record.ts'

export interface ToolCallsDeps extends CallContextDeps, ToolSharingDeps, CallerCallsDeps {
  readonly defaults: CallContextDeps['defaults'] & CallerCallsDeps['defaults']
  /** Implemented by createCall. */
  readonly call: Call
  /** Implemented by createAttachments. */
  readonly storeFiles: ResolveAttachments
}

/** Calls of one step that run at the same time. */
const CALLS_AT_ONCE = 16

/** Codes after which the step ends, because no answer to the model would help. All others are results that it sees. */
const ENDS_STEP: ReadonlySet<string> = new Set([
  'STEP_TIMEOUT',
  'LIMIT_EXCEEDED',
  'CALL_OUTCOME_UNKNOWN',
  'NOT_RECORDED',
  'DATABASE_UNAVAILABLE',
  'FLOW_CANCELLED',
  'FLOW_INTERRUPTED',
  'FLOW_TIMEOUT',
])

/**
 * Makes the calls of a turn that have no result yet, together, and records each result. Rejects with the first error
 * that ends the step, after all calls have ended.
 */
export async function runCalls(deps: ToolCallsDeps, step: ToolStep, turn: OpenTurn): Promise<void> {
  const { task, set, sample } = step
  const planned = turn.model.toolCalls.map((_, position) => planCall(set, turn, position))
  const open = planned.filter(({ index }) => !turn.results.has(index))
  if (open.length === 0) return
  const enter = openQueue(step.abort.signal)
  const work = open.map((call) => () => runCall(deps, step, turn, call, enter))
  const control = task.run.pause
  const mayWait = control !== undefined && open.some((call) => waitsForUser(task, sample, turn, call))
  if (control && mayWait) return step.waiting(() => control.together(work))
  const settled = await Promise.allSettled(work.map((start) => start()))
  for (const call of settled) if (call.status === 'rejected') throw call.reason
}

function waitsForUser(task: StepTask, sample: number, { started }: OpenTurn, { tool, refusal, ...call }: PlannedCall): boolean {
  if (!tool || refusal !== undefined) return false
  return started.has(call.index) ? mustAsk(task, sample, call, tool) : tool.needsApproval || isOfCaller(tool)
}

type Enter = (work: () => Promise<void>) => Promise<void>

/** Starts no call any more after the end of the step: it was aborted, or an earlier call has ended it. */
function openQueue(signal: AbortSignal): Enter {
  const limit = pLimit(CALLS_AT_ONCE)
  // Every call in flight listens. Node would warn of a leak from the eleventh on.
  setMaxListeners(0, signal)
  let end: { readonly reason: unknown } | undefined
  return (work) =>
    limit(async () => {
      signal.throwIfAborted()
      if (end) throw end.reason
      try {
        await work()
      } catch (reason) {
        end ??= { reason }
        throw reason
      }
    })
}

async function runCall(deps: ToolCallsDeps, step: ToolStep, turn: OpenTurn, planned: PlannedCall, enter: Enter): Promise<void> {
  const { task, sample } = step
  const { tool, refusal, given } = planned
  const known = turn.started.get(planned.index)
  const wait = known === undefined && tool && refusal === undefined ? toWait(deps, step, planned, tool) : undefined
  announceCall(step, planned, wait)
  if (!tool || refusal !== undefined) {
    addResult(step, planned, { content: refusal ?? '', isError: true, isInvalid: true, executionTime: 0, sharing: [] }, [])
    return
  }
  if (wait?.kind === 'caller') return awaitCaller(step, planned, tool, wait)
  const sharing = await decideToolSharing(deps, task, tool, turn.model)
  const denied = sharing.find(({ allowed }) => !allowed)
  if (denied) {
    addResult(step, planned, { content: deniedOutput(denied, tool.id), isError: true, executionTime: 0, sharing }, [])
    return
  }
  const approved = known
    ? await repetition(deps, step, known, tool)
    : wait
      ? await approval(step, planned, tool, wait)
      : { given: toRecord(given) }
  if ('refusal' in approved) {
    const { by: approvedBy, refusal: content } = approved
    addResult(step, planned, { content, isError: true, executionTime: 0, sharing, ...(approvedBy && { approvedBy }) }, [])
    return
  }
  await enter(() => makeCall(deps, { ...step, sample }, planned, tool, approved, { writer: turn.model.provider, sharing }))
}

/** What a call waits for before it is made; undefined for one that is made at once. */
function toWait(deps: ToolCallsDeps, { task, sample }: ToolStep, planned: PlannedCall, tool: StepTool): StepWait | undefined {
  if (isOfCaller(tool)) return toCallerWait(deps, task, sample, planned, tool)
  return tool.needsApproval ? toApproval(task, sample, planned, tool, planned.given, deps.now()) : undefined
}

const toRecord = (value: unknown): Readonly<Record<string, unknown>> => ({ ...(typeof value === 'object' ? value : {}) })

interface Approved {
  readonly given: Readonly<Record<string, unknown>>
  readonly by?: string
}

interface Rejected {
  readonly refusal: string
  readonly by?: string
}

async function approval({ task }: ToolStep, planned: PlannedCall, tool: StepTool, wait: StepWait): Promise<Approved | Rejected> {
  const { pause } = task.run
  // The loop refuses such steps before their first call where the run cannot pause.
  if (!pause) throw new OrchestratorError('INTERNAL', `Tool ${tool.id} needs approval in a run that cannot pause`)
  const { decision, decidedBy: by } = await awaitDecision(task, pause, wait)
  if (decision?.approved !== true) {
    return { refusal: JSON.stringify({ error: { code: 'REJECTED', message: 'The user rejected this call.' } }), by }
  }
  if (decision.edit === undefined) return { given: toRecord(planned.given), by }
  const parsed = parseJson(decision.edit)
  const edited = parsed ? checked(parsed.value, tool.operation.check) : ({ problem: 'expected JSON' } as const)
  if (!('problem' in edited)) return { given: edited.given, by }
  return { refusal: invalidOutput(`The user edited the arguments, and they do not fit: ${edited.problem}.`, {}), by }
}

/** Decides about a call that was started by a process that has died. */
async function repetition(deps: ToolCallsDeps, step: ToolStep, started: StartedCall, tool: StepTool): Promise<Approved> {
  const { task, sample } = step
  const { onUnknown = 'ask', id } = task.step
  const approved = { given: started.arguments, by: started.approvedBy }
  if (!mustAsk(task, sample, started, tool) || onUnknown === 'retry') return approved
  if (onUnknown === 'fail') throw unknownOutcome(id)
  // A run of this step alone cannot pause; its user has asked for the call.
  if (!task.run.pause) return approved
  const { decision } = await awaitDecision(task, task.run.pause, toRepetition(task, sample, started, tool, deps.now()))
  if (decision?.approved !== true) throw unknownOutcome(id)
  return approved
}

/** The provider whose model calls the tool, and what was decided before the call. */
interface Decided {
  readonly writer: string
  readonly sharing: readonly SharingDecision[]
}

/** Calls the tool, as an attempt of the step, between a row that says so and one with the result. */
async function makeCall(
  deps: ToolCallsDeps,
  step: ToolStep,
  planned: PlannedCall,
  tool: StepTool,
  { given, by: approvedBy }: Approved,
  { writer, sharing: before }: Decided,
): Promise<void> {
  const { task, sample, draft, abort, record } = step
  const { request, origins: madeFrom } = toToolRequest(task, sample, planned, tool, given)
  const startedMs = deps.now().getTime()
  const attempts: Attempt[] = []
  let number = 0
  const start = async () => {
    number = nextAttemptNumber(draft)
    draft.lastNumber = number
    const { turn, index } = planned
    const { simulated, costUsd } = deps.estimate(request)
    const facts = { startedAt: deps.now().toISOString(), simulated, ...(typeof costUsd === 'number' && { cost: costUsd }) }
    const { provider, operation } = tool
    const address = { kind: 'call', turn, index, attempt: number, provider, operation: operation.name } as const
    record.addStarted({ ...address, arguments: given, ...facts, ...(approvedBy && { approvedBy }) }, attempts.splice(0))
    await record.untilDurable()
  }
  await start()
  const context: CallContext = {
    ...createCallContext(deps, task, sample, draft, abort),
    abort: undefined,
    timeoutMs: step.remainingMs(),
    complete: undefined,
    // The cache of a step is for the answers of its model: every call of a tool is made.
    answerCaching: undefined,
    // The row of the first call is written above.
    announcesFirst: false,
    onDelta: undefined,
    onReasoning: undefined,
    ...(!tool.operation.idempotent && { maxRetries: 0 }),
    beforeRepeat: start,
    onAttempt: (attempt) => {
      const own = numbered(attempt, number)
      attempts.push(own)
      draft.attempts.push(own)
    },
  }
  const target = { provider: tool.provider, model: tool.operation.name }
  const outcome = await deps.call({ targets: [target], prepare: () => request }, context).then(toOutcome, (error: unknown) => {
    if (abort.signal.aborted) throw abort.signal.reason
    if (OrchestratorError.is(error) && ENDS_STEP.has(error.code)) throw error
    return { content: errorOutput(error), isError: true, files: NO_FILES }
  })
  const origins = madeFrom()
  const again = origins.length > 0 ? await decideResultSharing(deps, task, tool, writer, origins) : undefined
  const isWithheld = again?.allowed === false
  const maxTokens = task.step.maxResultTokens ?? DEFAULT_RESULT_TOKENS
  const { text, cut } = await fitOutput(
    isWithheld ? withheldOutput(again, tool.id) : outcome.content,
    maxTokens,
    step.countTokens,
  )
  const made = isWithheld ? NO_FILES : outcome.files
  const { text: named, ...files } = await keepToolFiles(deps.storeFiles, task, made, { maxTokens, tokensOf: step.fileTokens })
  const content = [text, named].filter((part) => part !== '').join('\n')
  const executionTime = deps.now().getTime() - startedMs
  const isError = outcome.isError || isWithheld
  const sharing = again ? [...before.filter(({ kind }) => kind !== again.kind), again] : before
  const kept = origins.length > 0 && !isWithheld ? { origins } : {}
  const facts = {
    content,
    isError,
    executionTime,
    sharing,
    provider: tool.provider,
    given,
    ...(cut && { cut }),
    ...files,
    ...kept,
  }
  addResult(step, planned, { ...facts, ...(approvedBy && { approvedBy }) }, attempts)
}

const NO_FILES: readonly GeneratedFile[] = []

const toOutcome = (answer: CallResponse) => ({ content: outputOf(answer), isError: false, files: answer.files ?? NO_FILES })
