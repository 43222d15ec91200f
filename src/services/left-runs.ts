import { termsOf } from './bodies.ts'
import type { LeftRun, ProcessDriver } from './process-driver.ts'
import type { ServiceEntry } from './service-entry.ts'

type Adopted = Extract<LeftRun, { readonly outcome: 'adopted' }>

/**
 * Ends or finds what an earlier supervisor left; the next start of the same service continues its run. A single start
 * decides about its own service only, because the files of the others may not be read yet.
 */
export function createLeftRuns(
  driver: Pick<ProcessDriver, 'adopt'> | undefined,
  find: (id: string) => ServiceEntry | undefined,
  onFound: (left: LeftRun) => void,
) {
  const adopted = new Map<string, Adopted>()
  const decided = new Set<string>()
  let areAllDecided = false
  let last: Promise<unknown> = Promise.resolve()

  const findTerms = (id: string) => {
    const definition = find(id)?.definition
    return definition?.executable ? termsOf(definition) : undefined
  }

  const isDecided = (id: string): boolean => areAllDecided || decided.has(id)

  /** One after another, so that no run is decided about twice. */
  function decide(only?: string): Promise<void> {
    const deciding = last.then(async () => {
      if (only !== undefined && isDecided(only)) return
      for (const left of (await driver?.adopt(findTerms, only)) ?? []) {
        decided.add(left.id)
        if (left.outcome === 'adopted') adopted.set(left.id, left)
        onFound(left)
      }
      // After an error nothing is decided: the folder of another supervisor may become free.
      if (only === undefined) areAllDecided = true
      else decided.add(only)
    })
    last = deciding.catch(() => undefined)
    return deciding
  }

  return {
    /**
     * Decides about all runs that are left, with `known` about those of these services only, and resolves with the ids
     * of the services whose runs continue.
     */
    async findAll(known?: readonly string[]): Promise<readonly string[]> {
      if (known) for (const id of known) await decide(id)
      else await decide()
      return [...adopted.keys()]
    },
    /** The run of a service that its next start continues; `undefined` without one, and after the first call. */
    async findOne(id: string) {
      if (!isDecided(id)) await decide(id)
      const left = adopted.get(id)
      adopted.delete(id)
      return left
    },
  }
}
