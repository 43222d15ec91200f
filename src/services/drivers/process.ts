import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import type { ServiceProcess } from '../../domain/services/service-definition.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { createPortAllocator } from '../../system/ports.ts'
import { ensurePrivateDirectory } from '../../system/private-directory.ts'
import { createProcessTable } from '../../system/process-table.ts'
import { findLivingRun, resolveLeftRun } from '../process/adoption.ts'
import { startFailed } from '../process/executable.ts'
import { launchProcess } from '../process/launch.ts'
import { createOutputs, type OutputOptions, type RunOutput } from '../process/run-output.ts'
import { createRunRecords } from '../process/run-record.ts'
import { RUN_MARKER, type SendSignal, signalGroup, unkillable } from '../process/run-tree.ts'
import { lockSupervisor } from '../process/supervisor-lock.ts'
import type { AdoptionTerms, LeftRun, ProcessDriver } from '../process-driver.ts'
import type { RunStart, ServiceRun } from '../service-driver.ts'

export interface ProcessDriverOptions {
  /** Folder of the lock, of `run/` and, by default, of `logs/`. */
  readonly dataDir: string
  readonly logDir?: string
  /** Size of one file of a log in bytes, and the number of full ones that are kept beside it. */
  readonly logs: { readonly maxBytes: number; readonly keep: number }
  /** RLIMIT_DATA of a process as a multiple of the memory limit of its tree. */
  readonly memoryHardFactor: number
  readonly now?: () => number
  readonly onLogDropped?: OutputOptions['onLogDropped']
  /** Replaced in tests of processes that cannot be killed. */
  readonly sendSignal?: SendSignal
  /** Replaced in tests of a full disk. */
  readonly writeLog?: OutputOptions['writeLog']
  /** Called between the start of a process and its record; a test ends the supervisor there. */
  readonly onSpawned?: (pid: number) => void
  /** Default: that of this process. */
  readonly platform?: NodeJS.Platform
}

interface LiveRun {
  readonly run: ServiceRun
  readonly output: RunOutput
  readonly child?: ChildProcess
  /** Present if this process started the run. */
  readonly leader?: { readonly pid: number; readonly started: string }
  readonly orphans: 'stop' | 'adopt'
}

const ID = /^[a-z0-9][a-z0-9-]{0,62}$/

/**
 * Starts programs of this machine and continues those that outlived their supervisor. Touches no file before the first
 * start or adoption. See docs/decisions/0045-processes-of-services.md.
 */
export function createProcessDriver(options: ProcessDriverOptions): ProcessDriver {
  const { dataDir, logDir = join(dataDir, 'logs'), logs, memoryHardFactor, now = Date.now, platform = process.platform } = options
  const { sendSignal: send = process.kill.bind(process), onSpawned, onLogDropped, writeLog } = options
  const live = new Map<string, LiveRun>()
  const starting = new Set<string>()
  const ports = createPortAllocator()
  const table = createProcessTable(RUN_MARKER)
  const records = createRunRecords(join(dataDir, 'run'))
  const outputs = createOutputs({ logDir, ...logs, ...(onLogDropped && { onLogDropped }), ...(writeLog && { writeLog }) })
  const closing = new AbortController()
  const deps = {
    records,
    outputs,
    table,
    send,
    memoryHardFactor,
    now,
    ...(onSpawned && { onSpawned }),
    onGone: (id: string) => {
      // The files belong to the next supervisor by now.
      if (closing.signal.aborted) return
      live.delete(id)
      records.remove(id)
    },
  }
  let lock: ReturnType<typeof open> | undefined

  /** No process would read the output of a run that is not to be adopted, so it ends with this one. */
  const endAtExit = () => {
    for (const { leader, orphans } of live.values()) {
      if (orphans === 'stop' && leader) signalGroup(leader, 'SIGTERM', send)
    }
  }

  async function open() {
    if (platform === 'win32') throw unsupported()
    ensurePrivateDirectory(dataDir, { mayBeRead: true })
    ensurePrivateDirectory(join(dataDir, 'run'))
    ensurePrivateDirectory(logDir, { mayBeRead: true })
    const own = await lockSupervisor(dataDir)
    process.once('exit', endAtExit)
    return own
  }

  /** Makes this process the supervisor, once. A failed attempt is repeated by the next call. */
  const own = (): Promise<unknown> => {
    lock ??= open().catch((error: unknown) => {
      lock = undefined
      throw error
    })
    return lock
  }

  const resolveLeft = (id: string, terms: AdoptionTerms | undefined): Promise<LeftRun> =>
    resolveLeftRun(id, terms, {
      ...deps,
      closed: closing.signal,
      onAdopted: (adoptedId, adopted) => live.set(adoptedId, { ...adopted, orphans: 'adopt' }),
    })

  async function start(service: ServiceProcess, run: RunStart): Promise<ServiceRun> {
    const { id, orphans } = service
    if (!ID.test(id)) throw invalidId(id)
    await own().catch((error: unknown) => {
      throw OrchestratorError.is(error) ? error : startFailed(id, error instanceof Error ? error.message : String(error), error)
    })
    const present = live.get(id)
    if (present) throw startFailed(id, `it runs already, as process ${present.run.process?.pid}`)
    if (starting.has(id)) throw startFailed(id, 'another start of it has not ended')
    starting.add(id)
    try {
      // A run that was never adopted would be a second copy.
      if (records.has(id)) {
        const left = await resolveLeft(id, { ...service, orphans: 'stop' })
        if (left.outcome === 'unkillable') throw unkillable(left.pids, service.killTimeoutMs)
      }
      const launched = await launchProcess(service, run, deps)
      live.set(id, { ...launched, orphans })
      return launched.run
    } finally {
      starting.delete(id)
    }
  }

  return {
    kind: 'process',
    start,
    async supervise() {
      await own()
    },
    async adopt(findTerms, only) {
      await own()
      return Promise.all(
        records
          .list()
          .filter(({ id }) => !live.has(id) && !starting.has(id) && (only === undefined || id === only))
          .map(({ id }) => resolveLeft(id, findTerms(id))),
      )
    },
    async findLiving() {
      const found = records.list().flatMap(({ id, record }) => (record && !live.has(id) && !starting.has(id) ? [record] : []))
      if (found.length === 0) return []
      const snapshot = await table.read()
      return found.flatMap((record) => findLivingRun(record, snapshot) ?? [])
    },
    logs: (id, given) => outputs.read(ID.test(id) ? id : invalid(id), given),
    allocatePort: ports.allocate,
    releasePort: ports.release,
    async close() {
      closing.abort()
      for (const { output, child } of live.values()) {
        output.detach()
        child?.unref()
      }
      live.clear()
      const held = await lock?.catch(() => undefined)
      // Only now, because the lock may have been opened meanwhile, which adds the listener.
      process.off('exit', endAtExit)
      lock = undefined
      await held?.release()
    },
  }
}

const unsupported = (): OrchestratorError =>
  new OrchestratorError('SERVICE_PLATFORM_UNSUPPORTED', 'Services with a program need Linux or macOS, and this is Windows.')

const invalidId = (id: string): OrchestratorError =>
  new OrchestratorError(
    'SERVICE_INVALID',
    `The id of a service must be lower-case letters, digits and hyphens, not ${JSON.stringify(id)}.`,
  )

function invalid(id: string): never {
  throw invalidId(id)
}
