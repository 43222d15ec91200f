import { randomUUID } from 'node:crypto'
import { createEventBus, type EventBusDeps } from '../../src/events/bus.ts'
import { createMemoryEvents } from '../../src/repositories/memory/background/events.ts'

/** A bus over a log in memory, with everything that it warned of. */
export function createMemoryBus(overrides: Partial<EventBusDeps> = {}) {
  const warnings: string[] = []
  const log = createMemoryEvents({ maxEvents: 1_000_000 })
  const bus = createEventBus({
    log,
    recent: 10_000,
    recentBytes: 50_000_000,
    queueBytes: 20_000_000,
    unstored: 20_000,
    unstoredBytes: 50_000_000,
    now: () => new Date(),
    newId: randomUUID,
    warn: (message) => warnings.push(message),
    ...overrides,
  })
  return { bus, log, warnings }
}

/** Resolves when the condition holds. Rejects after a time that no healthy run needs. */
export async function until(condition: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + 20_000
  while (!condition()) {
    if (performance.now() > deadlineMs) throw new Error(`Expected within 20 seconds: ${condition}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}
