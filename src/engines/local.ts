import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { Advance, Engine, EngineRuns } from './engine.ts'

/** Drives every started flow in this process at once. */
export function createLocalEngine(runs: EngineRuns): Engine {
  let advance: Advance | undefined
  let closed = false

  return {
    work(given) {
      advance = given
    },
    async start(job) {
      if (!advance) throw new OrchestratorError('INTERNAL', 'The engine was started before work() was called')
      if (closed) throw new OrchestratorError('FLOW_INTERRUPTED', 'The engine is closed', { details: { flowId: job.flowId } })
      runs.drive(job, advance)
    },
    cancel: runs.cancel,
    // This engine does not pause flows: a waiting flow counts as running.
    async signal() {},
    async health() {
      return { engine: 'local', running: runs.countDriven(), ok: !closed }
    },
    async close(reason) {
      closed = true
      await runs.cancelAll(reason)
    },
  }
}
