export interface SlotLimits {
  /** Services that run at the same time. */
  readonly maxConcurrent: number
  /** Services that start at the same time. */
  readonly startConcurrency: number
}

/** The slot of one service. All methods may be called twice. */
export interface ServiceSlot {
  /** The start has ended: another one may begin. */
  startEnded(): void
  /** The service has ended, or no longer waits. */
  release(): void
}

/** Slots of running and of starting services, first come first served. */
export interface Slots {
  /** Calls `onAdmitted` once: before it returns, or later unless the slot is released before. */
  enter(onAdmitted: () => void): ServiceSlot
  /** The slot of a service that runs already, also where that makes more than the limit. */
  hold(): ServiceSlot
}

interface Entry {
  readonly onAdmitted: () => void
  state: 'waiting' | 'starting' | 'running' | 'released'
}

export function createSlots({ maxConcurrent, startConcurrency }: SlotLimits): Slots {
  const entries = new Set<Entry>()

  function admit(): void {
    for (const entry of [...entries]) {
      const held = [...entries].filter(({ state }) => state === 'starting' || state === 'running').length
      const starting = [...entries].filter(({ state }) => state === 'starting').length
      if (held >= maxConcurrent || starting >= startConcurrency) return
      if (entry.state !== 'waiting') continue
      entry.state = 'starting'
      entry.onAdmitted()
    }
  }

  function add(entry: Entry): ServiceSlot {
    entries.add(entry)
    admit()
    return {
      startEnded() {
        if (entry.state !== 'starting') return
        entry.state = 'running'
        admit()
      },
      release() {
        entry.state = 'released'
        if (entries.delete(entry)) admit()
      },
    }
  }

  return {
    enter: (onAdmitted) => add({ onAdmitted, state: 'waiting' }),
    hold: () => add({ onAdmitted: () => {}, state: 'running' }),
  }
}
