import type { Logger, LogLevel } from '../config/config.ts'
import type { CallObservation, CallStart, FlowObserver } from '../domain/execution/observation.ts'
import { requestContext } from './request-context.ts'

/**
 * Logs flows (info) and calls (debug): ids, codes and figures, never text. Builds nothing if the level excludes them.
 */
export function createFlowLog(logger: Logger, level: LogLevel): FlowObserver {
  const logsCalls = level === 'debug'
  return {
    isWatching: () => logsCalls || level === 'info',
    flowStarted({ flowId, flowType, stepId, simulated, resumed }) {
      // Passed explicitly, because a custom logger does not read the request context.
      const ids = { flowId, requestId: requestContext.current()?.requestId }
      logger.info('flow started', { ...ids, flowType, stepId, simulated, resumed })
      return {
        within: (work) => requestContext.run({ flowId }, work),
        callStarted: logsCalls ? (call) => logCall(logger, ids, call) : undefined,
        ended: (ending) => logger.info('flow ended', { ...ids, flowType, stepId, ...ending }),
      }
    },
  }
}

function logCall(logger: Logger, ids: Readonly<Record<string, string | undefined>>, call: CallStart): CallObservation {
  const { stepId, iteration, sample } = call
  const callIds = { ...ids, stepId, iteration, sample: sample || undefined }
  return {
    attempted({ number, provider, model, error, executionTime }) {
      if (error)
        logger.debug('attempt failed', {
          ...callIds,
          attempt: number,
          provider,
          model,
          code: error.code,
          durationMs: executionTime,
        })
    },
    ended({ answer, errorCode, durationMs, attempts, costUsd, simulated }) {
      const { provider, model } = answer ?? call
      logger.debug('call ended', {
        ...callIds,
        provider,
        model,
        code: errorCode ?? 'ok',
        durationMs,
        attempts,
        costUsd,
        simulated,
      })
    },
  }
}
