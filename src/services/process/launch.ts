import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync } from 'node:fs'
import type { ServiceProcess } from '../../domain/services/service-definition.ts'
import type { ServiceExit } from '../../domain/services/service-state.ts'
import { findStart } from '../../system/process-table.ts'
import { findBootId, findPidNamespace } from '../../system/processes.ts'
import { createPipe, openChildEnd } from '../logs/log-pipe.ts'
import type { RunStart, ServiceRun } from '../service-driver.ts'
import { checkStart, startFailed } from './executable.ts'
import { type LimitedCommand, limitCommand, lowerPriority } from './limits.ts'
import { createProcessRun, type RunDeps } from './process-run.ts'
import type { Outputs, RunOutput } from './run-output.ts'
import type { RecordedProcess, RunRecord, RunRecords } from './run-record.ts'
import { endTree, RUN_MARKER, type SendSignal } from './run-tree.ts'

export interface LaunchDeps extends RunDeps {
  readonly records: RunRecords
  readonly outputs: Outputs
  readonly memoryHardFactor: number
  readonly now: () => number
  /** Called between the start of a process and its record. */
  readonly onSpawned?: (pid: number) => void
}

/** A run whose leader is a child of this process. */
export interface Launched {
  readonly run: ServiceRun
  readonly child: ChildProcess
  readonly leader: { readonly pid: number; readonly started: string }
  readonly output: RunOutput
}

/**
 * Starts the program. The intent is written before and the process after, so that the next supervisor finds a run whose
 * start was cut off, by its marker.
 */
export async function launchProcess(service: ServiceProcess, start: RunStart, deps: LaunchDeps): Promise<Launched> {
  const { records, outputs } = deps
  const path = await checkStart(service)
  start.signal.throwIfAborted()
  const command = limitCommand(service, path, deps.memoryHardFactor)
  const { id, definitionHash, orphans } = service
  const intent: RunRecord = { id, runId: start.runId, definitionHash, orphans, startedAt: new Date(deps.now()).toISOString() }
  const pipePath = records.pipePath(id)
  let output: RunOutput | undefined
  let childEnd: number | undefined
  try {
    records.write(intent)
    await createPipe(pipePath)
    start.signal.throwIfAborted()
    childEnd = openChildEnd(pipePath)
    output = outputs.attach(id, pipePath, start.onLine)
    const { child, pid } = await spawnProgram(service, command, start.runId, childEnd)
    const exited = watchChild(child, deps.now)
    deps.onSpawned?.(pid)
    const recorded = describeOrEnd(pid, command, service.port, deps.send)
    const record = { ...intent, process: recorded }
    await writeOrEnd(record, service, deps)
    const run = createProcessRun({ record, isChild: true, exited, output }, service, deps)
    return { run, child, leader: recorded, output }
  } catch (error) {
    output?.detach()
    records.remove(id)
    if (start.signal.aborted && error === start.signal.reason) throw error
    throw startFailed(id, error instanceof Error ? error.message : String(error), error)
  } finally {
    if (childEnd !== undefined) closeSync(childEnd)
  }
}

/** Waits for nothing if the program could be started, so that its exit is not missed. */
async function spawnProgram(service: ServiceProcess, { program, args }: LimitedCommand, runId: string, childEnd: number) {
  const child = spawn(program, [...args], {
    detached: true,
    cwd: service.cwd,
    env: { ...service.environment, [RUN_MARKER]: runId },
    stdio: ['ignore', childEnd, childEnd],
  })
  if (child.pid === undefined) {
    const [error] = await once(child, 'error')
    throw error
  }
  // A later error concerns signals, which this driver sends itself.
  child.on('error', () => {})
  if (service.limits.cpuPercent !== undefined) lowerPriority(child.pid)
  return { child, pid: child.pid }
}

/** Only `exit` decides: `close` waits for every process that has the pipe open. */
const watchChild = (child: ChildProcess, now: () => number): Promise<ServiceExit> =>
  new Promise((resolve) => {
    child.once('exit', (code, signal) => {
      resolve({ at: new Date(now()), ...(code !== null && { code }), ...(signal !== null && { signal }) })
    })
  })

function describeProcess(pid: number, { limits }: LimitedCommand, port: number | undefined): RecordedProcess {
  const [boot, pidNamespace] = [findBootId(), findPidNamespace()]
  return {
    pid,
    started: findStart(pid) ?? '',
    limits,
    ...(boot && { boot }),
    ...(pidNamespace && { pidNamespace }),
    ...(port !== undefined && { port }),
  }
}

/** A child that was not waited for keeps its pid, so that it can be ended although its start cannot be read. */
function describeOrEnd(...[pid, command, port, send]: [...Parameters<typeof describeProcess>, SendSignal]): RecordedProcess {
  try {
    return describeProcess(pid, command, port)
  } catch (error) {
    send(-pid, 'SIGKILL')
    throw error
  }
}

/** A process without a record is ended: the next supervisor could not identify it. */
async function writeOrEnd(
  record: RunRecord & { readonly process: RecordedProcess },
  { killTimeoutMs }: ServiceProcess,
  { records, table, send }: LaunchDeps,
): Promise<void> {
  try {
    records.write(record)
  } catch (error) {
    const { pid, started } = record.process
    const tree = { runId: record.runId, leader: { pid, started }, isChild: true }
    await endTree({ tree, table, send, timeoutMs: killTimeoutMs })
    throw error
  }
}
