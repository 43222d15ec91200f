import { lstatSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ServiceExit } from '../../domain/services/service-state.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { isSameProcess, mayBeSameProcess, type ProcessSnapshot } from '../../system/process-table.ts'
import { findBootId, findPidNamespace } from '../../system/processes.ts'
import type { AdoptionTerms, LeftRun, LivingRun, SetAsideReason } from '../process-driver.ts'
import type { LaunchDeps } from './launch.ts'
import { createProcessRun } from './process-run.ts'
import type { RunOutput } from './run-output.ts'
import type { RecordedProcess, RunRecord } from './run-record.ts'
import { endTree, findTree, isAllowed, readTree, signalProcess, type TreeIdentity, untilEnded } from './run-tree.ts'

/** Called for every adopted run, so that the driver knows it. */
export type OnAdopted = (id: string, adopted: { readonly run: Adopted['run']; readonly output: RunOutput }) => void
type Adopted = Extract<LeftRun, { outcome: 'adopted' }>

export interface AdoptionDeps extends LaunchDeps {
  /** Aborts when the supervisor gives the folder away. */
  readonly closed: AbortSignal
  readonly onAdopted: OnAdopted
}

/** Time in milliseconds that an orphan has to end by itself. */
const GRACE_MS = 500
const DEFAULT_KILL_TIMEOUT_MS = 5_000
/** Wait in milliseconds before the state of an adopted process is read again: its exit is no event here. */
const WATCH_MS = 500
const DRAIN_MS = 500

/** Ends or continues what an earlier supervisor left of one service. Never signals a process that is not verified. */
export async function resolveLeftRun(id: string, terms: AdoptionTerms | undefined, deps: AdoptionDeps): Promise<LeftRun> {
  const { records, table } = deps
  const record = records.read(id)
  const setAside = (reason: SetAsideReason): LeftRun => ({ id, outcome: 'set_aside', path: records.setAside(id), reason })
  if (!record) return setAside('unreadable')
  const snapshot = await table.read()
  const { process: recorded } = record
  if (!recorded) return endLeft(record, { runId: record.runId, isChild: false }, terms, deps)
  const doubt = findDoubt(record, recorded, snapshot)
  if (doubt) return setAside(doubt)
  const leader = { pid: recorded.pid, started: recorded.started }
  const tree: TreeIdentity = { runId: record.runId, leader, isChild: false }
  if (mayContinue(record, terms) && isSameProcess(leader) && isPipe(records.pipePath(id))) {
    return continueRun({ ...record, process: recorded }, terms, deps)
  }
  return endLeft(record, tree, terms, deps)
}

/** The processes of a recorded run that are certainly its own; `undefined` if none lives. */
export function findLivingRun(record: RunRecord, snapshot: ProcessSnapshot): LivingRun | undefined {
  const { id, runId, process: recorded } = record
  const isOurs = recorded !== undefined && findDoubt(record, recorded, snapshot) === undefined
  const leader = isOurs ? { pid: recorded.pid, started: recorded.started } : undefined
  const found = findTree(snapshot, { runId, isChild: false, ...(leader && { leader }) })
  return found.length === 0 ? undefined : { id, pids: found.map(({ pid }) => pid) }
}

/** Why the record names no process that is certainly ours; what carries its marker is ours in any case. */
function findDoubt(record: RunRecord, recorded: RecordedProcess, snapshot: ProcessSnapshot): SetAsideReason | undefined {
  if (!isAllowed(recorded.pid)) return 'refused_pid'
  if (recorded.boot !== findBootId() || recorded.pidNamespace !== findPidNamespace()) return 'other_boot'
  const present = snapshot.get(recorded.pid)
  const isOther = present !== undefined && (present.started !== recorded.started || !isMarked(present.marker, record.runId))
  const hasMarked = [...snapshot.values()].some(({ marker }) => marker === record.runId)
  return isOther && !hasMarked ? 'other_process' : undefined
}

/** Some programs write their title over their environment, so boot, start and pid count where no marker is left. */
const isMarked = (marker: string | undefined, runId: string): boolean => marker === undefined || marker === runId

const mayContinue = (record: RunRecord, terms: AdoptionTerms | undefined): terms is AdoptionTerms =>
  terms?.orphans === 'adopt' && terms.definitionHash === record.definitionHash

function isPipe(path: string): boolean {
  try {
    return lstatSync(path).isFIFO()
  } catch {
    return false
  }
}

function continueRun(
  record: RunRecord & { readonly process: RecordedProcess },
  terms: AdoptionTerms,
  deps: AdoptionDeps,
): LeftRun {
  const { id } = record
  const output = deps.outputs.attach(id, deps.records.pipePath(id))
  const exited = watchExit(record.process, output.ended, deps)
  const run = createProcessRun({ record, isChild: false, exited, output }, terms, deps)
  deps.onAdopted(id, { run, output })
  const { port } = record.process
  return { id, outcome: 'adopted', run, ...(port !== undefined && { port }) }
}

/** Resolves when the process has exited; only its parent knows its code. The end of its output shows it at once. */
async function watchExit(
  leader: RecordedProcess,
  outputEnded: Promise<void>,
  { now, closed }: AdoptionDeps,
): Promise<ServiceExit> {
  let hasOutputEnded = false
  const end = outputEnded.then(() => {
    hasOutputEnded = true
  })
  while (mayBeSameProcess(leader)) {
    // After the supervisor gave the folder away nothing is reported any more.
    if (closed.aborted) return new Promise(() => {})
    const pause = sleep(WATCH_MS)
    await (hasOutputEnded ? pause : Promise.race([pause, end]))
  }
  return { at: new Date(now()) }
}

async function endLeft(
  record: RunRecord,
  tree: TreeIdentity,
  terms: AdoptionTerms | undefined,
  { records, outputs, table, send }: AdoptionDeps,
): Promise<LeftRun> {
  const { id } = record
  const left = await readTree(tree, table)
  if (left.length === 0) {
    records.remove(id)
    return { id, outcome: 'gone' }
  }
  // A full pipe would keep the process from ending, and its last words belong to its log.
  const output = isPipe(records.pipePath(id)) ? outputs.attach(id, records.pipePath(id)) : undefined
  try {
    for (const entry of left) signalProcess(entry, terms?.stopSignal ?? 'SIGTERM', send)
    await untilEnded(left, GRACE_MS)
    const killed = await endTree({ tree, table, send, timeoutMs: terms?.killTimeoutMs ?? DEFAULT_KILL_TIMEOUT_MS })
    await output?.finish(DRAIN_MS)
    records.remove(id)
    return { id, outcome: 'ended', pids: [...new Set([...left.map(({ pid }) => pid), ...killed])] }
  } catch (error) {
    output?.detach()
    if (!OrchestratorError.is(error) || error.code !== 'SERVICE_UNKILLABLE') throw error
    return { id, outcome: 'unkillable', pids: findTree(await table.read(), tree).map(({ pid }) => pid) }
  }
}
