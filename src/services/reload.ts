import { isSameJson } from '../domain/json-equality.ts'
import type { ServiceDefinition } from '../domain/services/service-schema.ts'
import type { ServiceState } from '../domain/services/service-state.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { isAtRest } from './machine/returning.ts'
import type { ServiceReload, Services } from './service.ts'

export interface ReloadDeps {
  readonly services: Pick<Services, 'register' | 'remove' | 'stop'>
  /** Starts a service and reports a failure that its state does not show. */
  readonly begin: (id: string) => void
  /** Ids of the services that files have defined; kept up to date here. */
  readonly fromFiles: Set<string>
  /** State in this process. */
  readonly stateOf: (id: string) => ServiceState
  readonly definitionOf: (id: string) => ServiceDefinition | undefined
  readonly found: readonly ServiceDefinition[]
  readonly problems: readonly OrchestratorError[]
}

/**
 * Makes the services those of the files: new ones start, those of changed files are replaced and run again if they ran,
 * those without a file end. While a file has a problem none is removed, because the bad file may be its own.
 */
export async function reloadServices(deps: ReloadDeps): Promise<ServiceReload> {
  const { services, begin, fromFiles, stateOf, definitionOf, found, problems } = deps
  const changes = { added: [] as string[], changed: [] as string[], removed: [] as string[] }
  const failures = problems.map(({ message }) => message)
  const attempt = async (work: () => Promise<unknown>): Promise<void> => {
    await work().catch((error: unknown) => failures.push(OrchestratorError.from(error, 'SERVICE_INVALID').message))
  }
  const end = async (id: string) => {
    await services.stop(id)
    await services.remove(id)
    fromFiles.delete(id)
  }

  const ids = new Set(found.map(({ id }) => id))
  for (const id of [...fromFiles]) {
    if (ids.has(id) || problems.length > 0 || !definitionOf(id)) continue
    await attempt(async () => {
      await end(id)
      changes.removed.push(id)
    })
  }
  for (const service of found) {
    const { id, start } = service
    const known = fromFiles.has(id) ? definitionOf(id) : undefined
    if (known && isSameJson(known, service)) continue
    await attempt(async () => {
      const wasAlive = known !== undefined && !isAtRest({ state: stateOf(id) })
      if (known) await end(id)
      await services.register(service)
      fromFiles.add(id)
      changes[known ? 'changed' : 'added'].push(id)
      if (known ? wasAlive : start === 'auto') begin(id)
    })
  }
  return { ...changes, problems: failures }
}
