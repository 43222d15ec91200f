import type { CallIntent } from '../../domain/execution/call-intent.ts'
import { type Attempt, isSameResult, type StepKey, type StepResult, stepResultId } from '../../domain/execution/step-result.ts'
import { isTurnOf, type StepTurn, settles, withoutBlocks } from '../../domain/tools/turns.ts'
import type { JournalEntry } from '../repository.ts'
import type { OpenFlow } from './flow-head.ts'

/** Adds the results, turns, intents and updates of an entry to its flow. */
export function writeEntry(
  record: OpenFlow,
  {
    results,
    updates,
    intents,
    turns,
    closedTurns,
  }: Pick<JournalEntry, 'results' | 'updates' | 'intents' | 'turns' | 'closedTurns'>,
) {
  if (results) recordResults(record, results)
  if (turns) recordTurns(record, turns)
  if (closedTurns) {
    record.turns = record.turns?.map((row) => (closedTurns.some((step) => isTurnOf(row, step)) ? withoutBlocks(row) : row))
  }
  if (intents) record.intents = [...(record.intents ?? []), ...intents]
  if (!updates) return
  record.updates ??= []
  for (const update of updates) record.updates.push(update)
}

export function recordResults(record: OpenFlow, results: readonly StepResult[]) {
  record.results ??= new Map()
  const flowId = record.flow.id
  for (const result of results) {
    if (record.intents) removeIntents(record, result)
    const own = result.flowId === flowId ? result : { ...result, flowId, id: stepResultId(flowId, result) }
    const prior = record.results.get(own.id)
    if (prior?.status === 'SUCCESS') continue
    if (prior) record.results.delete(own.id)
    record.results.set(own.id, prior ? { ...own, attempts: mergeAttempts(prior.attempts, own.attempts) } : own)
  }
}

/** The order in which the turns of a flow are read. */
export const byStepAndNumber = (a: StepTurn, b: StepTurn): number =>
  a.path < b.path ? -1 : a.path > b.path ? 1 : a.iteration - b.iteration || a.sample - b.sample || a.number - b.number

/** The attempts of a row join those of the result of its step, which is recorded with the first row. */
function recordTurns(record: OpenFlow, turns: readonly StepTurn[]) {
  for (const row of turns) {
    if (record.turns?.some((known) => known.number === row.number && isSameResult(known, row))) continue
    record.turns = [...(record.turns ?? []), row]
    if (record.intents) removeIntents(record, row, (intent) => settles(row, intent))
    const id = stepResultId(record.flow.id, row)
    const result = record.results?.get(id)
    if (result) record.results?.set(id, { ...result, attempts: mergeAttempts(result.attempts, row.attempts) })
  }
}

function removeIntents(record: OpenFlow, result: StepKey, isSettled = (intent: CallIntent) => isSameResult(intent, result)) {
  const left = record.intents?.filter((intent) => !isSettled(intent))
  record.intents = left && left.length > 0 ? left : undefined
}

/** Attempts are never removed from the ledger: those of an earlier run of the step stay. */
function mergeAttempts(prior: readonly Attempt[], later: readonly Attempt[]): readonly Attempt[] {
  const known = new Set(prior.map((attempt) => attempt.number))
  return [...prior, ...later.filter((attempt) => !known.has(attempt.number))].sort((a, b) => a.number - b.number)
}
