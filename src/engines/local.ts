import { CancellationToken } from '../async/cancellation-token.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { Advance, Engine, FlowJob } from './engine.ts'

/** Drives flows in this process, at once; as many as are started. */
export function createLocalEngine(): Engine {
  const running = new Map<string, { readonly stop: CancellationToken; readonly done: Promise<void> }>()
  let advance: Advance | undefined
  let closed = false

  return {
    work(given) {
      advance = given
    },
    async start(job: FlowJob) {
      if (!advance) throw new OrchestratorError('INTERNAL', 'The engine was started before work() was called')
      if (closed) throw new OrchestratorError('FLOW_INTERRUPTED', 'The engine is closed', { details: { flowId: job.flowId } })
      const stop = new CancellationToken()
      const done = advance(job, stop).finally(() => {
        // The flow may be here again, under its next epoch, before its last owner has let go.
        if (running.get(job.flowId)?.stop === stop) running.delete(job.flowId)
      })
      running.set(job.flowId, { stop, done })
    },
    async cancel(flowId, reason) {
      const flow = running.get(flowId)
      if (!flow) return false
      flow.stop.cancel(reason)
      await flow.done
      return true
    },
    // Nothing pauses in this engine yet: a flow that waits is a flow that runs.
    async signal() {},
    async health() {
      return { engine: 'local', running: running.size, ok: !closed }
    },
    async close(reason) {
      closed = true
      const flows = [...running.values()]
      for (const flow of flows) flow.stop.cancel(reason)
      await Promise.all(flows.map((flow) => flow.done))
    },
  }
}
