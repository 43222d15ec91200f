import type { ServiceDefinition } from '../domain/services/service-schema.ts'
import { type BodyDeps, createBody } from './bodies.ts'
import { createBoundedCalls } from './calls/bounded-calls.ts'
import { type ServiceDefaults, toLifeSettings } from './life/life-settings.ts'
import { createServiceLife, type ServiceLifeDeps } from './life/service-life.ts'
import type { MachineModel } from './machine/machine-model.ts'
import type { InProcessService } from './service.ts'
import type { ServiceLimit } from './service-driver.ts'
import type { ServiceEntry } from './service-entry.ts'
import type { Dependencies } from './starting/dependencies.ts'

export interface EntriesDeps extends Omit<BodyDeps, 'healthEnabled'>, Pick<ServiceLifeDeps, 'clock' | 'monotonicNow'> {
  readonly defaults: ServiceDefaults &
    Pick<ServiceLifeDeps, 'sampleEveryMs' | 'memoryHardFactor'> & { readonly callTimeoutMs: number }
  /** Whether services take slots that run nothing here: remote ones, and those of this process without code. */
  readonly countsAll?: boolean
  readonly admit: Dependencies['admit']
  /** Waits for the rates of the provider of a service. Absent where services stand behind no providers. */
  readonly enterRates?: (id: string, signal: AbortSignal) => Promise<() => void>
  readonly onChange: (id: string, before: MachineModel, model: MachineModel) => void
  readonly onLimit: (id: string, limit: ServiceLimit) => void
}

/** Returns the function that makes an entry of a checked definition: `idle`, with runs that are numbered on. */
export function createEntries(deps: EntriesDeps) {
  const { defaults, clock, monotonicNow, admit, onChange, onLimit, enterRates, countsAll = false } = deps

  return (definition: ServiceDefinition, handlers: InProcessService | undefined, runsBefore: number): ServiceEntry => {
    const { id, dependsOn, limits, leaseMs, ready, provider } = definition
    const body = createBody(definition, handlers, { ...deps, healthEnabled: defaults.health.enabled })
    // Slots are for what runs here: an address, or a name for a provider, costs this machine nothing.
    const takesSlot = countsAll || body.driver === 'process' || handlers?.start !== undefined
    const life = createServiceLife({
      id,
      settings: toLifeSettings(definition, defaults, body.probe !== undefined),
      startRun: (runId, signal, onLine) => body.startRun({ runId, signal, ...(onLine && { onLine }) }),
      ...(body.probe && { probe: body.probe }),
      ...(ready && { readyLine: ready.logLine }),
      ...(leaseMs !== undefined && { leaseMs }),
      ...(limits.memory !== undefined && { memoryBytes: limits.memory }),
      ...(limits.cpu !== undefined && { cpuPercent: limits.cpu }),
      runsBefore,
      sampleEveryMs: defaults.sampleEveryMs,
      memoryHardFactor: defaults.memoryHardFactor,
      clock,
      monotonicNow,
      admit: (onAdmitted, onFailed) => admit({ id, dependsOn, takesSlot }, onAdmitted, onFailed),
      onChange: (before, model) => onChange(id, before, model),
      onLimit: (limit) => onLimit(id, limit),
    })
    const bounded = createBoundedCalls({
      id,
      maxConcurrency: provider?.maxConcurrency,
      ...(provider && enterRates && { enter: (signal: AbortSignal) => enterRates(id, signal) }),
      timeoutMs: definition.callTimeoutMs ?? defaults.callTimeoutMs,
      clock,
    })
    return { id, definition, takesSlot, ...(handlers && { handlers }), body, life, bounded }
  }
}
