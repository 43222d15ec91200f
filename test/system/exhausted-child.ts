import { closeSync, openSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { endTree, readTree, signalProcess } from '../../src/services/process/run-tree.ts'
import { isErrorCode } from '../../src/system/error-code.ts'
import { createProcessTable, findStart, isSameProcess, mayBeSameProcess } from '../../src/system/process-table.ts'
import { findBootId, findProcessFacts } from '../../src/system/processes.ts'

/** What this process finds about another one while it can open no file. */
export interface ExhaustedReport {
  readonly same: unknown
  readonly facts: unknown
  readonly tree: unknown
  readonly mayBeSame: boolean
  readonly hasBootId: boolean
  readonly signalled: boolean
  /** Pids that were ended once files could be opened again. */
  readonly ended: readonly number[]
}

const codeOf = (error: unknown): string => (isErrorCode(error, 'EMFILE') ? 'EMFILE' : String(error))
function outcome(find: () => unknown): unknown {
  try {
    return find()
  } catch (error) {
    return codeOf(error)
  }
}

const pid = Number(process.argv[2])
const entry = { pid, started: findStart(pid) ?? '' }
const tree = { runId: 'none', leader: entry, isChild: false }
const table = createProcessTable('POLYPHONY_NOTHING')
await table.read()
const opened: number[] = []
/** The loader of this file may close files of its own in between. */
function exhaust(): void {
  try {
    for (;;) opened.push(openSync('/dev/null', 'r'))
  } catch {
    // The limit of this process is reached.
  }
}
exhaust()
await sleep(50)
exhaust()
const found = {
  same: outcome(() => isSameProcess(entry)),
  facts: outcome(() => findProcessFacts(pid)),
  tree: await readTree(tree, table).catch(codeOf),
  mayBeSame: mayBeSameProcess(entry),
  hasBootId: findBootId() !== undefined,
  signalled: signalProcess(entry, 'SIGKILL', () => undefined),
}
exhaust()
const ending = endTree({ tree, table, send: process.kill.bind(process), timeoutMs: 30_000 })
await sleep(50)
for (const fd of opened) closeSync(fd)
const report: ExhaustedReport = { ...found, ended: await ending }
process.stdout.write(JSON.stringify(report))
