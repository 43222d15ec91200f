import type { CallResponse } from '../../calls/call.ts'
import type { FlowDefinition, FlowStep } from '../../domain/definition/flow-definition.ts'
import { type CallIntent, OUTCOME_UNKNOWN, toLostAttempt } from '../../domain/execution/call-intent.ts'
import { costOf, totalsOf } from '../../domain/execution/cost.ts'
import { wasInterrupted } from '../../domain/execution/flow.ts'
import { stepIdOf } from '../../domain/execution/step-path.ts'
import { type Attempt, isSameResult, type StepKey, type StepResult, stepResultId } from '../../domain/execution/step-result.ts'
import { addUsage, UNKNOWN_USAGE } from '../../domain/execution/usage.ts'
import { isRunStep } from '../../domain/tools/tool-fields.ts'
import { openCalls, type StartedCall, type StepTurn, toRecordedTurns } from '../../domain/tools/turns.ts'
import { stepPlans } from '../../prompts/step-plan.ts'
import type { Store, StoredFlow } from '../../repositories/repository.ts'
import { type PriorAnswer, type PriorState, recordKey, toolKey } from '../flow-run.ts'
import { joinSampleRows } from '../flows/flow-view.ts'
import { emptyResult } from '../steps/step-record.ts'

export const NO_PRIOR_STATE: PriorState = {
  results: [],
  recorded: new Map(),
  attempts: new Map(),
  lost: new Set(),
  untraced: new Set(),
  answers: new Map(),
  turns: new Map(),
  lostTools: new Set(),
  unrecorded: [],
  spent: { costUsd: 0, tokens: 0 },
  lastSeq: 0,
}

/** Reads paid results, attempts, the last sequence number, and the calls that a crash interrupted. */
export async function readPriorState(
  store: Store,
  flow: StoredFlow,
  definition: FlowDefinition,
  { epoch, unordered, isLoop }: { readonly epoch: number; readonly unordered: boolean; readonly isLoop: boolean },
): Promise<PriorState> {
  const [stored, intents, turnRows, lastSeq] = await Promise.all([
    store.flows.stepResults(flow.id, { samples: true }),
    store.flows.intents(flow.id),
    hasTools(definition) ? store.flows.turns(flow.id) : NO_TURNS,
    store.updates.lastSeq(flow.id),
  ])
  const { recordedEpoch } = flow.runOptions ?? {}
  const interrupted = wasInterrupted(flow) && (recordedEpoch === undefined || recordedEpoch < epoch - 1)
  const turns = groupTurns(turnRows)
  const tools = lostTools(turns, stored, interrupted)
  const unrecorded = lostResults(flow.id, definition, stored, intents, tools.intents)
  const rows = [...stored.filter((row) => !unrecorded.some((lost) => isSameResult(lost, row))), ...unrecorded]
  const results = joinSampleRows(rows)
  const recorded = new Map<string, StepResult>()
  const attempts = new Map<string, readonly Attempt[]>()
  const lost = new Set(intents.map(keyOf))
  const answers = new Map<string, PriorAnswer>()
  for (const result of [...rows.filter((row) => row.sample > 0), ...results]) {
    const key = keyOf(result)
    // Outside a loop a further iteration is a repetition by executeStep, which replaces the first.
    if (result.status === 'SUCCESS') recorded.set(isLoop ? key : recordKey(result.path, 1, result.sample), result)
    if (result.attempts.length > 0) attempts.set(key, result.attempts)
    if (result.status === 'RUNNING' && result.output !== undefined) {
      answers.set(key, { response: toResponse(result, result.output), origins: result.origins })
    }
    // The process that recorded the lost call died as well, so the flow has not ended because of it.
    if (interrupted && result.error?.code === OUTCOME_UNKNOWN.code) lost.add(key)
    // The effect of an operation may have happened although the flow was handed over in order.
    if (result.attempts.length > 0 && isCutOperation(definition, result)) lost.add(key)
  }
  // The intents of the first steps are not awaited before their calls, so a crash may have left no trace of some. A
  // second crash may have come before all of them were recorded as lost.
  const mayLackTraces = interrupted && rows.every(({ error }) => error?.code === OUTCOME_UNKNOWN.code)
  const traced = new Set(rows.map(keyOf))
  const first = mayLackTraces ? firstSteps(definition, unordered).flatMap(firstCalls) : []
  const untraced = new Set(first.filter((key) => !traced.has(key)))
  const { totalCost, totalTokens } = totalsOf(rows)
  const spent = { costUsd: totalCost, tokens: totalTokens }
  return { results, recorded, attempts, lost, untraced, answers, turns, lostTools: tools.keys, unrecorded, spent, lastSeq }
}

const NO_TURNS: readonly StepTurn[] = []

const hasTools = ({ steps }: FlowDefinition): boolean => steps.some(({ tools }) => tools !== undefined)

function groupTurns(rows: readonly StepTurn[]): ReadonlyMap<string, readonly StepTurn[]> {
  const turns = new Map<string, StepTurn[]>()
  for (const row of rows) turns.set(keyOf(row), [...(turns.get(keyOf(row)) ?? []), row])
  return turns
}

const isCutOperation = ({ steps }: FlowDefinition, result: StepResult): boolean => {
  const step = steps.find(({ id }) => id === stepIdOf(result.path))
  return step !== undefined && isRunStep(step) && result.status !== 'SUCCESS' && isCut(result, result.attempts.at(-1))
}

/**
 * Whether an attempt may have had an effect of which no result is stored: its flow left the process during it, or its
 * outcome was lost and no user has decided about it. Once the step has failed because of it, executing the flow again
 * makes the call again.
 */
function isCut({ error }: StepResult, attempt: Attempt | undefined): boolean {
  if (!attempt) return false
  // The failure of a decision names its step; that of the lost attempt itself does not.
  if (error?.code === OUTCOME_UNKNOWN.code && error.details.stepId !== undefined) return false
  const code = attempt.error?.code
  // An answer that came after the end of the execution is an attempt without an error, and was not kept.
  return code === OUTCOME_UNKNOWN.code || (code ?? error?.code) === INTERRUPTED
}

const INTERRUPTED = 'FLOW_INTERRUPTED'

/**
 * Calls of tools that have no result: those of a process that died or handed the flow over, and those that a user was
 * asked about since. Once the flow has ended with a lost call on its ledger, executing it again makes the call again.
 */
function lostTools(
  turns: ReadonlyMap<string, readonly StepTurn[]>,
  stored: readonly StepResult[],
  interrupted: boolean,
): { readonly keys: ReadonlySet<string>; readonly intents: readonly CallIntent[] } {
  const keys = new Set<string>()
  const intents: CallIntent[] = []
  for (const [key, rows] of turns) {
    const [first] = rows
    const known = stored.find((result) => keyOf(result) === key)
    if (!first || known?.status === 'SUCCESS') continue
    for (const call of openCalls(toRecordedTurns(rows))) {
      const attempt = known?.attempts.find(({ number }) => number === call.attempt)
      // An execution that ends in order records every attempt that was sent: any other call was refused before.
      if (!interrupted && !(known && isCut(known, attempt))) continue
      keys.add(toolKey(first, call))
      if (!attempt) intents.push(toToolIntent(first, call))
    }
  }
  return { keys, intents }
}

const toToolIntent = ({ path, iteration, sample }: StepKey, call: StartedCall): CallIntent => ({
  path,
  iteration,
  sample,
  number: call.attempt,
  idempotencyKey: '',
  provider: call.provider,
  model: call.operation,
  startedAt: new Date(call.startedAt),
  inputTokens: 0,
  outputTokens: 0,
  cost: call.cost,
  simulated: call.simulated,
})

const keyOf = ({ path, iteration, sample }: StepKey): string => recordKey(path, iteration, sample)

/** Calls without an outcome as results, which keep their attempts on the ledger whether or not the step runs again. */
function lostResults(
  flowId: string,
  { steps }: FlowDefinition,
  rows: readonly StepResult[],
  intents: readonly CallIntent[],
  ofTools: readonly CallIntent[],
): readonly StepResult[] {
  const lost: StepResult[] = []
  for (const intent of [...intents, ...ofTools]) {
    const { path, iteration, sample, provider, model, startedAt } = intent
    const step = steps.find(({ id }) => id === stepIdOf(path))
    const position = lost.findIndex((result) => isSameResult(result, intent))
    const known = lost[position] ?? rows.find((row) => isSameResult(row, intent))
    if (!known && !step) continue
    const result = known ?? (step && emptyResult({ flowId }, step, iteration, startedAt))
    if (!result) continue
    const attempts = [...result.attempts.filter(({ number }) => number !== intent.number), toLostAttempt(intent)]
    const usage = addUsage(attempts.map((attempt) => attempt.usage))
    const joined: StepResult = {
      ...result,
      ...(known === undefined && { id: stepResultId(flowId, intent), path, sample, provider, model }),
      // An answer that was already received stays with its result, and the turns before a call of a tool stay as well.
      ...(result.output === undefined && !ofTools.includes(intent) && { status: 'FAILED', error: OUTCOME_UNKNOWN }),
      attempts,
      usage,
      ...costOf(attempts),
      retryCount: attempts.length - 1,
      metadata: { ...result.metadata, usage, cost: costOf(attempts).cost, retryCount: attempts.length - 1 },
    }
    if (position >= 0) lost[position] = joined
    else lost.push(joined)
  }
  return lost
}

/** The answer that was stored while its step asked for a repair of it. */
const toResponse = (result: StepResult, text: string): CallResponse => ({
  text,
  refusal: result.refusal,
  reasoningText: result.reasoning,
  sources: result.sources,
  finishReason: result.finishReason ?? 'other',
  model: result.model,
  requestedModel: result.requestedModel,
  provider: result.provider,
  usage: result.attempts.findLast((attempt) => attempt.error === undefined)?.usage ?? UNKNOWN_USAGE,
  notes: result.notes,
  simulated: result.simulated,
})

/** Keys of the calls that a step makes in its first iteration; samples are numbered from 1. */
const firstCalls = ({ id, samples = 1 }: FlowStep): readonly string[] =>
  samples === 1 ? [recordKey(id, 1, 0)] : Array.from({ length: samples }, (_, index) => recordKey(id, 1, index + 1))

/** Steps that an execution may start before any other has ended. */
const firstSteps = (definition: FlowDefinition, unordered: boolean): readonly FlowStep[] => {
  const plans = stepPlans(definition)
  const independent = definition.steps.filter((step) => plans.get(step.id)?.waitsFor.size === 0)
  const first = unordered ? independent : independent.slice(0, 1)
  // The intent of an operation is always awaited, so that a call without a trace was not made.
  return first.filter((step) => !isRunStep(step))
}
