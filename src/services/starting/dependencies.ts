import type { ServiceDefinition } from '../../domain/services/service-schema.ts'
import type { ServiceState } from '../../domain/services/service-state.ts'
import type { Admission, ServiceLife } from '../life/service-life.ts'
import type { MachineError } from '../machine/machine-model.ts'
import type { ServiceSlot, Slots } from './slots.ts'

interface Found {
  readonly life: Pick<ServiceLife, 'snapshot'>
}

interface Admitted extends Pick<ServiceDefinition, 'id' | 'dependsOn'> {
  /** Whether the service waits for a slot and holds it while it runs. */
  readonly takesSlot: boolean
}

/** Lets services start when those that they depend on run and a slot is free. */
export interface Dependencies {
  admit(service: Admitted, onAdmitted: () => void, onFailed: (error: MachineError) => void): Admission
  /** Must be called after every change of a state. */
  changed(): void
  /** Resolves when none of the states can change before a service has ended or a wait has passed. */
  untilSettled(states: () => readonly ServiceState[], all: ReadonlyMap<string, Found>): Promise<void>
}

const SETTLED: ReadonlySet<ServiceState> = new Set<ServiceState>(['running', 'degraded', 'failed', 'idle', 'backoff'])

export interface DependenciesDeps {
  readonly slots: Slots
  readonly find: (id: string) => Found | undefined
  /** Whether a run of the service continues that an earlier supervisor left; `unknown` until that is found out. */
  readonly leftOf: (id: string) => 'unknown' | 'lives' | 'none'
}

export function createDependencies({ slots, find, leftOf }: DependenciesDeps): Dependencies {
  const checks = new Set<() => void>()
  const stateOf = (id: string): ServiceState | undefined => find(id)?.life.snapshot().model.state

  function admit(
    { id, dependsOn, takesSlot }: Admitted,
    onAdmitted: () => void,
    onFailed: (error: MachineError) => void,
  ): Admission {
    let slot: ServiceSlot | undefined
    const areRunning = () => dependsOn.every((one) => stateOf(one) === 'running')
    const check = () => {
      const left = leftOf(id)
      if (left === 'unknown') return
      if (left === 'lives') {
        // It runs already, whatever its dependencies do, and nothing watches it until it is taken over.
        checks.delete(check)
        if (takesSlot) slot = slots.hold()
        return onAdmitted()
      }
      const lost = dependsOn.find((one) => ['failed', 'idle', undefined].includes(stateOf(one)))
      if (lost !== undefined) {
        checks.delete(check)
        const message = `depends on "${lost}", which is ${stateOf(lost) ?? 'no service'}`
        return onFailed({ code: 'SERVICE_DEPENDENCY_FAILED', message, details: { dependency: lost, dependent: id } })
      }
      if (!areRunning()) return
      checks.delete(check)
      if (!takesSlot) return onAdmitted()
      slot = slots.enter(() => {
        if (areRunning()) return onAdmitted()
        // One of them ended while the service waited for its slot, which it gives back.
        slot?.release()
        checks.add(check)
        check()
      })
    }
    checks.add(check)
    check()
    return {
      startEnded: () => slot?.startEnded(),
      release() {
        checks.delete(check)
        slot?.release()
      },
    }
  }

  function changed(): void {
    // A check that another one has made superfluous must not run again: it would take a second slot.
    for (const check of [...checks]) if (checks.has(check)) check()
  }

  return {
    admit,
    changed,
    untilSettled(states, all) {
      return new Promise((resolve) => {
        const check = () => {
          const others = [...all.values()].map(({ life }) => life.snapshot().model.state)
          const isMoving = others.includes('starting') || others.includes('stopping')
          if (!states().every((state) => SETTLED.has(state) || (state === 'waiting' && !isMoving))) return
          checks.delete(check)
          resolve()
        }
        checks.add(check)
        check()
      })
    },
  }
}
