import { type StoredRunOptions, wasInterrupted } from '../../domain/execution/flow.ts'
import type { StoredFlow } from '../../repositories/repository.ts'
import type { RunOptions } from '../flow-run.ts'
import type { StartRequest } from './run-input.ts'

/**
 * How flows get from their start to a process that drives them. `never`: the process that starts a flow drives it at
 * once. `limited`: it may wait in the queue before. `durable`: another process may drive it, and takes it over after a
 * crash.
 */
export type Queueing = 'never' | 'limited' | 'durable'

/** The options that the process needs which takes the flow from the queue. */
export function toQueuedOptions({ flow, options, input }: StartRequest, queueing: Queueing): StoredRunOptions | undefined {
  const { messageId: inputMessageId } = input
  if (queueing === 'never') {
    const { stored = keyOptions(options) } = options
    return stored && (inputMessageId === undefined ? stored : { ...stored, inputMessageId })
  }
  const { streaming, saveMessages, limits, flowTimeoutMs: flowMs, stepTimeoutMs: stepMs, apiKeyId, stored } = options
  return {
    streaming,
    saveMessages,
    limits,
    timeout: { flow: flowMs, step: stepMs },
    inputMessageId,
    apiKeyId,
    ...(flow.ownerEpoch > 0 && !wasInterrupted(flow) && { recordedEpoch: flow.ownerEpoch }),
    ...(queueing === 'limited' && stored === undefined && { resumeAfterCrash: false }),
  }
}

/**
 * Keeps the API key of a flow that is not resumed automatically: its budgets count the flow when another caller
 * continues it.
 */
export const keyOptions = ({ apiKeyId }: Pick<StoredRunOptions, 'apiKeyId'> = {}): StoredRunOptions | undefined =>
  apiKeyId === undefined ? undefined : { apiKeyId, resumeAfterCrash: false }

/** The options of a flow that this process has not started, from its row. */
export function fromQueuedOptions({ runOptions = {}, metadata = {} }: StoredFlow): RunOptions {
  const { streaming = false, saveMessages = false, limits, timeout, apiKeyId } = runOptions
  return { streaming, saveMessages, limits, flowTimeoutMs: timeout?.flow, stepTimeoutMs: timeout?.step, apiKeyId, metadata }
}
