import { untilAborted } from '../../async/until-aborted.ts'
import type { ServiceExit } from '../../domain/services/service-state.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { InProcessContext, InProcessService } from '../service.ts'
import type { ServiceDriver } from '../service-driver.ts'

/** A service whose code runs in this process. */
export interface InProcessStart {
  readonly id: string
  readonly handlers: InProcessService
  readonly context: Omit<InProcessContext, 'signal'>
}

const MAX_MESSAGE_LENGTH = 500

/** A value that a handler threw, as text for the operator. */
export const toHandlerMessage = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).slice(0, MAX_MESSAGE_LENGTH)

/**
 * Runs the handlers of services. `onStopFailed` receives the errors of `stop` handlers, after which the service counts
 * as ended. Code cannot be ended by force: `kill` only stops waiting for it.
 */
export function createInProcessDriver(onStopFailed: (id: string, error: unknown) => void): ServiceDriver<InProcessStart> {
  return {
    kind: 'in_process',
    async start({ id, handlers, context }, { runId, signal }) {
      signal.throwIfAborted()
      const ending = new AbortController()
      const starting = Promise.resolve().then(() => handlers.start?.({ ...context, signal: ending.signal }))
      const stopHandler = async () => {
        try {
          await handlers.stop?.()
        } catch (error) {
          onStopFailed(id, error)
        }
      }
      try {
        await untilAborted(starting, signal)
      } catch (error) {
        ending.abort(error)
        if (!signal.aborted) {
          throw new OrchestratorError('SERVICE_START_FAILED', `the start of "${id}" failed: ${toHandlerMessage(error)}`, {
            details: { service: id },
            cause: error,
          })
        }
        // A start that ends after it was given up must not keep what it took.
        void starting.then(stopHandler, () => undefined)
        throw signal.reason
      }

      let end = (_exit: ServiceExit) => {}
      const ended = new Promise<ServiceExit>((resolve) => {
        end = resolve
      })
      let isStopping = false
      return {
        runId,
        startedAt: new Date(),
        adopted: false,
        ended,
        async requestStop() {
          if (isStopping) return
          isStopping = true
          ending.abort(new OrchestratorError('SERVICE_NOT_RUNNING', `"${id}" is being stopped`))
          // The handler may never end, so the request does not wait for it.
          void stopHandler().then(() => end({ at: new Date() }))
        },
        async kill() {
          ending.abort(new OrchestratorError('SERVICE_NOT_RUNNING', `"${id}" was ended`))
          end({ at: new Date() })
        },
      }
    },
  }
}
