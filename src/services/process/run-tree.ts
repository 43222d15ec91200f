import { setTimeout as sleep } from 'node:timers/promises'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { isErrorCode } from '../../system/error-code.ts'
import type { ProcessEntry } from '../../system/process-entry.ts'
import { isSameProcess, mayBeSameProcess, type ProcessSnapshot, type ProcessTable } from '../../system/process-table.ts'

/** Name of the environment variable that every process of a run inherits; its value is the id of the run. */
export const RUN_MARKER = 'POLYPHONY_SERVICE_RUN'

/** Sends a signal; a negative pid means the group. As `process.kill`. */
export type SendSignal = (pid: number, signal: NodeJS.Signals) => unknown

/** What identifies the processes of a run. */
export interface TreeIdentity {
  readonly runId: string
  /** The process that was started, which leads its group; absent if the supervisor died before it could record it. */
  readonly leader?: { readonly pid: number; readonly started: string }
  /** Whether this process started the leader: its group is then known to be the same after its exit. */
  readonly isChild: boolean
}

const isLive = ({ ended }: ProcessEntry): boolean => !ended

/** The processes of a snapshot by what `findTree` asks for, so that many services together read the snapshot once. */
interface SnapshotIndex {
  readonly markers: ReadonlyMap<string | undefined, readonly ProcessEntry[]>
  readonly groups: ReadonlyMap<number, readonly ProcessEntry[]>
  readonly parents: ReadonlyMap<number, readonly ProcessEntry[]>
}

const indexes = new WeakMap<ProcessSnapshot, SnapshotIndex>()

function indexOf(snapshot: ProcessSnapshot): SnapshotIndex {
  const known = indexes.get(snapshot)
  if (known) return known
  const entries = [...snapshot.values()]
  const index: SnapshotIndex = {
    markers: groupBy(entries, ({ marker }) => marker),
    groups: groupBy(entries, ({ group }) => group),
    parents: groupBy(entries, ({ parent }) => parent),
  }
  indexes.set(snapshot, index)
  return index
}

function groupBy<Key>(entries: readonly ProcessEntry[], keyOf: (entry: ProcessEntry) => Key): ReadonlyMap<Key, ProcessEntry[]> {
  const groups = new Map<Key, ProcessEntry[]>()
  for (const entry of entries) {
    const group = groups.get(keyOf(entry))
    if (group) group.push(entry)
    else groups.set(keyOf(entry), [entry])
  }
  return groups
}

/**
 * The processes of a run that have not exited: those with its marker, and those below the leader or in its group, which
 * may have emptied their environment.
 */
export function findTree(snapshot: ProcessSnapshot, { runId, leader, isChild }: TreeIdentity): readonly ProcessEntry[] {
  const { markers, groups, parents } = indexOf(snapshot)
  const atLeader = leader && snapshot.get(leader.pid)
  const isLeader = atLeader !== undefined && atLeader.started === leader?.started
  // While a group exists the system gives its number to no new process, so a group without its leader is still ours.
  const group = isLeader || (isChild && !atLeader) ? leader?.pid : undefined
  const isOfAnotherRun = ({ marker }: ProcessEntry) => marker !== undefined && marker !== runId
  const inGroup = group === undefined ? [] : (groups.get(group) ?? [])
  const own = new Set([...(markers.get(runId) ?? []), ...inGroup.filter((entry) => !isOfAnotherRun(entry))])
  // A set is read to its end, also what is added meanwhile.
  for (const { pid } of own) {
    for (const child of parents.get(pid) ?? []) if (!isOfAnotherRun(child)) own.add(child)
  }
  return [...own].filter(isLive)
}

/**
 * Signals the process if it still is the one of the entry: its id may belong to another process by now. Returns whether
 * it was signalled.
 */
export function signalProcess(entry: Pick<ProcessEntry, 'pid' | 'started'>, signal: NodeJS.Signals, send: SendSignal): boolean {
  return isAllowed(entry.pid) && isCertain(entry) && sendTo(entry.pid, signal, send)
}

/** Signals the whole group of the leader, if the leader still runs. */
export function signalGroup(leader: Pick<ProcessEntry, 'pid' | 'started'>, signal: NodeJS.Signals, send: SendSignal): boolean {
  return isAllowed(leader.pid) && isCertain(leader) && sendTo(-leader.pid, signal, send)
}

/** A process that cannot be read now may be another one, so that it is not signalled. */
function isCertain(entry: Pick<ProcessEntry, 'pid' | 'started'>): boolean {
  try {
    return isSameProcess(entry)
  } catch {
    return false
  }
}

/** Whether a process of a service may have this id: -1 and 0 would signal everything, 1 is the first process. */
export const isAllowed = (pid: number): boolean => Number.isInteger(pid) && pid > 1 && pid !== process.pid

function sendTo(pid: number, signal: NodeJS.Signals, send: SendSignal): boolean {
  try {
    send(pid, signal)
    return true
  } catch (error) {
    // EPERM: the process has become one of another user.
    if (isErrorCode(error, 'ESRCH', 'EPERM')) return false
    throw error
  }
}

const ROUND_MS = 15
/** Snapshots without a process of the run that are needed if one may have been missed while it changed its program. */
const UNSURE_ROUNDS = 3

/** Reads what is left of the run now. */
export async function readTree(tree: TreeIdentity, table: ProcessTable): Promise<readonly ProcessEntry[]> {
  for (let round = 1; ; round++) {
    const snapshot = await table.read()
    const left = findTree(snapshot, tree)
    const mayHide = [...snapshot.values()].some(({ isUnmarked }) => isUnmarked === true)
    if (left.length > 0 || !mayHide || round === UNSURE_ROUNDS) return left
  }
}

export interface EndTreeOptions {
  readonly tree: TreeIdentity
  readonly table: ProcessTable
  readonly send: SendSignal
  readonly timeoutMs: number
}

/**
 * Kills everything of the run, round by round, since a process may start another while the table is read. Resolves when
 * nothing is left, with the pids that were signalled. Rejects with SERVICE_UNKILLABLE after `timeoutMs`.
 */
export async function endTree({ tree, table, send, timeoutMs }: EndTreeOptions): Promise<readonly number[]> {
  const signalled = new Set<number>()
  const deadlineMs = performance.now() + timeoutMs
  for (; ; await sleep(ROUND_MS)) {
    // One signal to the group reaches its processes before they can start others.
    if (tree.leader) signalGroup(tree.leader, 'SIGKILL', send)
    const isLate = performance.now() > deadlineMs
    let left: readonly ProcessEntry[]
    try {
      left = await readTree(tree, table)
    } catch (error) {
      // A table that cannot be read now, as when too many files are open, does not show that nothing is left.
      if (isLate) throw error
      continue
    }
    if (left.length === 0) return [...signalled]
    if (isLate)
      throw unkillable(
        left.map(({ pid }) => pid),
        timeoutMs,
      )
    for (const entry of left) if (signalProcess(entry, 'SIGKILL', send)) signalled.add(entry.pid)
  }
}

export const unkillable = (pids: readonly number[], timeoutMs: number): OrchestratorError =>
  new OrchestratorError('SERVICE_UNKILLABLE', `Processes ${pids.join(', ')} still run ${timeoutMs} ms after SIGKILL.`, {
    details: { pids },
  })

const POLL_MS = 20

/** Resolves when none of the processes runs any more, or after `timeoutMs`. Reads only these. */
export async function untilEnded(entries: readonly ProcessEntry[], timeoutMs: number): Promise<void> {
  for (const deadlineMs = performance.now() + timeoutMs; performance.now() < deadlineMs; await sleep(POLL_MS)) {
    if (!entries.some(mayBeSameProcess)) return
  }
}
