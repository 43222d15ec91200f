import { setTimeout as sleep } from 'node:timers/promises'
import type { ServiceProcess } from '../../domain/services/service-definition.ts'
import type { ServiceExit } from '../../domain/services/service-state.ts'
import type { ProcessTable } from '../../system/process-table.ts'
import type { ServiceRun } from '../service-driver.ts'
import type { RunOutput } from './run-output.ts'
import type { RecordedProcess, RunRecord } from './run-record.ts'
import { endTree, readTree, type SendSignal, signalGroup, signalProcess, type TreeIdentity, untilEnded } from './run-tree.ts'
import { createTreeUsage } from './tree-usage.ts'

/** A process that was started now or by an earlier supervisor. */
export interface RunSource {
  readonly record: RunRecord & { readonly process: RecordedProcess }
  /** Whether this process started it. */
  readonly isChild: boolean
  /** Resolves when the leader has exited; never rejects. */
  readonly exited: Promise<ServiceExit>
  readonly output: RunOutput
}

export interface RunDeps {
  readonly table: ProcessTable
  readonly send: SendSignal
  /** Called once when nothing of a run is left and its output is stored: removes its files. */
  readonly onGone: (id: string) => void
}

/** Output that is read after the exit; a process of another run may hold the pipe open for ever. */
const DRAIN_MS = 500
const RETRY_MS = 1_000

/** One run of a program. Everything that it started counts as part of it. */
export function createProcessRun(
  { record, isChild, exited, output }: RunSource,
  { stopSignal, killTimeoutMs }: Pick<ServiceProcess, 'stopSignal' | 'killTimeoutMs'>,
  { table, send, onGone }: RunDeps,
): ServiceRun {
  const { pid, started, limits } = record.process
  const leader = { pid, started }
  const tree: TreeIdentity = { runId: record.runId, leader, isChild }
  let isStopping = false
  let hasExited = false
  let killing: Promise<void> | undefined

  /** Descendants of a leader that crashed are in the way of the next run; those of one that stops may finish. */
  async function endDescendants(): Promise<void> {
    const asked = new Set<string>()
    while (true) {
      if (!isStopping) {
        const isGone = await endTree({ tree, table, send, timeoutMs: killTimeoutMs }).then(
          () => true,
          () => false,
        )
        if (isGone) return
        await sleep(RETRY_MS)
        continue
      }
      const left = await readTree(tree, table).catch(() => undefined)
      if (left?.length === 0) return
      if (!left) {
        await sleep(RETRY_MS)
        continue
      }
      for (const entry of left) {
        const key = `${entry.pid}/${entry.started}`
        // The request to the group did not reach a process that has left it.
        if (entry.group !== pid && !asked.has(key)) signalProcess(entry, stopSignal, send)
        asked.add(key)
      }
      await untilEnded(left, RETRY_MS)
    }
  }

  async function end(): Promise<ServiceExit> {
    const exit = await exited
    hasExited = true
    await endDescendants()
    try {
      await output.finish(DRAIN_MS)
      onGone(record.id)
    } catch {
      // The disk may be read-only by now. The record that stays is checked before the next start.
    }
    return exit
  }
  const ended = end()

  async function kill(): Promise<void> {
    isStopping = true
    await endTree({ tree, table, send, timeoutMs: killTimeoutMs })
    await ended
  }

  return {
    runId: record.runId,
    startedAt: new Date(record.startedAt),
    adopted: !isChild,
    process: { pid, limits },
    ended,
    async requestStop() {
      isStopping = true
      if (!hasExited) signalGroup(leader, stopSignal, send)
    },
    kill() {
      killing ??= kill().finally(() => {
        // After a failure another call makes another attempt.
        killing = undefined
      })
      return killing
    },
    usage: createTreeUsage(tree, table),
  }
}
