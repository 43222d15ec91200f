import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { termsOf } from './bodies.ts'
import type { LeftRun, LivingRun, ProcessDriver } from './process-driver.ts'
import type { ServiceEntry } from './service-entry.ts'

type Adopted = Extract<LeftRun, { readonly outcome: 'adopted' }>

export interface LeftRunsDeps {
  readonly driver: Pick<ProcessDriver, 'adopt' | 'findLiving' | 'supervise'> | undefined
  readonly find: (id: string) => ServiceEntry | undefined
  /** What became of a run. */
  readonly onFound: (left: LeftRun) => void
  /** A run lives whose service nothing defines, so that no one watches it. */
  readonly onUnclaimed: (run: LivingRun) => void
  /** A run continues whose service was not started: its start takes the run over. */
  readonly onContinued: (id: string) => void
  /** Called when it is known of a service whether a run of it continues. */
  readonly onDecided: () => void
}

/**
 * Ends or finds what an earlier supervisor left; the next start of the same service continues its run. The first start
 * of a program makes this process the supervisor, which then decides about the runs of all other services that are
 * registered, and of each that is registered later. A run without a service is reported and lives: the file of its
 * service may not be read yet. Only the start of all services ends such runs.
 */
export function createLeftRuns({ driver, find, onFound, onUnclaimed, onContinued, onDecided }: LeftRunsDeps) {
  const adopted = new Map<string, Adopted>()
  const decided = new Set<string>()
  /** Resolve when it is known of a service whether a run of it continues, or that this cannot be found out now. */
  const deciding = new Map<string, Promise<void>>()
  /** Services that were stopped while that was not known: a run of them is to end. */
  const stopped = new Set<string>()
  const unclaimed = new Set<string>()
  let areAllDecided = false
  let isSupervisor = false
  let isClosed = false
  let last: Promise<unknown> = Promise.resolve()

  const findTerms = (id: string) => {
    const definition = find(id)?.definition
    return definition?.executable ? termsOf(definition) : undefined
  }

  const isDecided = (id: string): boolean => areAllDecided || decided.has(id)

  /** One after another, so that no run is decided about twice. */
  function decide(only?: string): Promise<void> {
    const own = last.then(async () => {
      if (isClosed || (only !== undefined && isDecided(only))) return
      for (const left of (await driver?.adopt(findTerms, only)) ?? []) {
        decided.add(left.id)
        if (left.outcome === 'adopted') adopted.set(left.id, left)
        onFound(left)
      }
      // After an error nothing is decided: the folder of another supervisor may become free.
      isSupervisor = true
      if (only === undefined) areAllDecided = true
      else decided.add(only)
    })
    last = own.catch(() => undefined)
    return own
  }

  function untilKnown(id: string): Promise<void> {
    const known =
      deciding.get(id) ??
      decide(id)
        .catch(() => undefined)
        .then(() => {
          deciding.delete(id)
          onDecided()
        })
    deciding.set(id, known)
    return known
  }

  async function takeOver(id: string): Promise<void> {
    if (isDecided(id)) return
    await untilKnown(id)
    if (adopted.has(id) && !stopped.has(id)) onContinued(id)
  }

  /** What lives may belong to another supervisor, which watches it. Makes this process no supervisor without need. */
  async function maySupervise(): Promise<boolean> {
    if (isSupervisor) return true
    if (((await driver?.findLiving()) ?? []).length === 0) return false
    await driver?.supervise().then(() => {
      isSupervisor = true
    }, ignoreOther)
    return isSupervisor
  }

  /** Decides about the runs of all services that are registered, and reports the others. */
  async function takeOverAll(): Promise<void> {
    if (areAllDecided || isClosed || !(await maySupervise())) return
    for (const run of (await driver?.findLiving()) ?? []) {
      if (areAllDecided || isClosed) return
      if (find(run.id)) await takeOver(run.id)
      else if (!unclaimed.has(run.id)) {
        unclaimed.add(run.id)
        onUnclaimed(run)
      }
    }
  }

  return {
    /** Begins to find out whether a run of the service continues. Must be called before its program starts. */
    decideSoon(id: string): void {
      if (isDecided(id) || deciding.has(id)) return
      const isFirst = !isSupervisor
      void untilKnown(id).then(() => {
        // What cannot be read now is decided at the start of its own service.
        if (isFirst && isSupervisor) takeOverAll().catch(() => undefined)
      })
    },
    /** `unknown` after `decideSoon` and before `onDecided`. */
    stateOf: (id: string): 'unknown' | 'lives' | 'none' => (deciding.has(id) ? 'unknown' : adopted.has(id) ? 'lives' : 'none'),
    /** Must be called for every service that is registered. */
    registered(id: string): void {
      if (isSupervisor) void takeOver(id)
    },
    /**
     * Must be called after every stop. Resolves with whether a run of the service continues that was found meanwhile
     * and that no start has taken over: the caller ends it.
     */
    async isLeft(id: string): Promise<boolean> {
      const known = deciding.get(id)
      if (known) {
        stopped.add(id)
        await known
        stopped.delete(id)
      }
      return adopted.has(id)
    },
    /**
     * Decides about all runs that are left, with `known` about those of these services only, and resolves with the ids
     * of the services whose runs continue.
     */
    async findAll(known?: readonly string[]): Promise<readonly string[]> {
      if (known) {
        for (const id of known) await decide(id)
        await takeOverAll()
      } else await decide()
      return [...adopted.keys()]
    },
    /**
     * Ends the runs that are left where no program is registered. Makes this process no supervisor without need, and
     * leaves the runs of another one alone.
     */
    async endAll(): Promise<readonly string[]> {
      if (((await driver?.findLiving()) ?? []).length === 0) return []
      await decide().catch(ignoreOther)
      return []
    },
    /** The run of a service that its next start continues; `undefined` without one, and after the first call. */
    async findOne(id: string) {
      if (!isDecided(id)) await decide(id)
      const left = adopted.get(id)
      adopted.delete(id)
      return left
    },
    /** Decides about nothing more, and resolves when the last decision has ended. */
    async close(): Promise<void> {
      isClosed = true
      await last
    },
  }
}

/** Rethrows all but the error of a folder that another process supervises. */
function ignoreOther(error: unknown): void {
  if (!OrchestratorError.is(error) || error.code !== 'SERVICES_OWNED_ELSEWHERE') throw error
}
