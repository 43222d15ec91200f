import type { PolyphonyConfig } from '../config/config.ts'
import { createStepPrompt } from '../orchestrator/steps/step-prompt.ts'
import { createStepRunner } from '../orchestrator/steps/step-runner.ts'
import { createThreadHistory } from '../orchestrator/steps/thread-messages.ts'
import { createWaitStep } from '../orchestrator/waiting/wait-step.ts'
import type { DataSharingService } from '../policies/policy.ts'
import { decideSharing, shareContext } from '../policies/shared-context.ts'
import type { ThreadRepository } from '../repositories/repository.ts'
import type { Models } from './create-models.ts'

export interface CreateStepsDeps {
  readonly config: PolyphonyConfig
  readonly models: Models
  readonly dataSharing: DataSharingService
  readonly threads: ThreadRepository
  readonly now: () => Date
}

/** Builds the step runner with everything it needs: inputs, sharing, prompts and calls. */
export function createSteps({ config: { timeouts }, models, dataSharing, threads, now }: CreateStepsDeps) {
  const { call, estimate, tokens, pricingOf } = models
  const historyOf = createThreadHistory(threads)
  const prepare = createStepPrompt({
    shareContext,
    decideSharing,
    dataSharing,
    tokens,
    vendorOf: (id) => pricingOf(id).vendor,
    historyOf,
  })
  const defaults = {
    maxRetries: 2,
    timeoutMs: timeouts.stepMs ?? 600_000,
    firstChunkTimeoutMs: timeouts.firstChunkMs ?? 120_000,
    idleTimeoutMs: timeouts.idleMs ?? 60_000,
  }
  const runWait = createWaitStep({ historyOf, now })
  return { historyOf, runStep: createStepRunner({ call, estimate, prepare, runWait, now, defaults }) }
}

export type Steps = ReturnType<typeof createSteps>
