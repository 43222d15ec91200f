import type { Engine, EngineHealth } from '../engines/engine.ts'
import type { QueueRepository, UnrunnableDefinition } from '../repositories/repository.ts'

/** State of the engine of this process and of the queue that all processes share. */
export interface QueueHealth extends EngineHealth {
  /** Flows that wait for a process. */
  readonly queued: number
  /** Flows of all users that run in any process or wait for one. */
  readonly active: number
  /** Queued flows that this process cannot run, by their definitions. */
  readonly unrunnable: readonly UnrunnableDefinition[]
}

export interface CreateQueueHealthDeps {
  readonly engine: Pick<Engine, 'health'>
  readonly queue: Pick<QueueRepository, 'countsByUser' | 'unrunnable'>
  /** What this process can run. Implemented by createFlowDefinitions. */
  readonly requirements: () => readonly string[]
}

/** Builds the reading of the engine's state for probes. */
export const createQueueHealth =
  ({ engine, queue, requirements }: CreateQueueHealthDeps) =>
  async (): Promise<QueueHealth> => {
    const [health, counts, unrunnable] = await Promise.all([
      engine.health(),
      queue.countsByUser(),
      queue.unrunnable(requirements()),
    ])
    let queued = 0
    let owned = 0
    for (const user of counts.values()) {
      queued += user.queued
      owned += user.running
    }
    return { ...health, queued, active: queued + owned, unrunnable }
  }
