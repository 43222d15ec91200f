import { findSuggestion, quoted, withSuggestion } from '../../domain/definition/suggestion.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

type Dependent = { readonly id: string; readonly dependsOn: readonly string[] }

/**
 * The services, each after those it depends on. Throws SERVICE_INVALID for an unknown dependency and for
 * services that depend on each other in a circle, which it names.
 */
export function toStartOrder<Service extends Dependent>(services: readonly Service[]): readonly Service[] {
  const byId = new Map(services.map((service) => [service.id, service]))
  const order: Service[] = []
  const state = new Map<string, 'open' | 'done'>()

  function visit(service: Service, path: readonly string[]): void {
    const known = state.get(service.id)
    if (known === 'done') return
    if (known === 'open') {
      const circle = [...path.slice(path.indexOf(service.id)), service.id]
      throw invalid(service.id, `expected services that do not wait for each other, found ${circle.join(' → ')}`, { circle })
    }
    state.set(service.id, 'open')
    for (const id of service.dependsOn) {
      const dependency = byId.get(id)
      if (!dependency) throw unknownDependency(service.id, id, byId.keys())
      visit(dependency, [...path, service.id])
    }
    state.set(service.id, 'done')
    order.push(service)
  }

  for (const service of services) visit(service, [])
  return order
}

function unknownDependency(service: string, dependency: string, known: Iterable<string>): OrchestratorError {
  const suggestion = findSuggestion(dependency, known)
  const message = withSuggestion(`${quoted(service)} depends on ${quoted(dependency)}, which is no service`, suggestion)
  return invalid(service, message, { dependency, ...(suggestion !== undefined && { suggestion }) })
}

const invalid = (service: string, message: string, details: Readonly<Record<string, unknown>>): OrchestratorError =>
  new OrchestratorError('SERVICE_INVALID', message, { details: { service, ...details } })
