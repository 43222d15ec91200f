import type { PolyphonyConfig } from '../../config/config.ts'
import { isRunStep } from '../../domain/tools/tool-fields.ts'
import type { ResolveAttachments } from '../../domain/users/new-attachment.ts'
import { executors } from '../../executors/registry.ts'
import { createFileReader } from '../../orchestrator/files/file-parts.ts'
import { prepareOperation, type RunRequestDeps } from '../../orchestrator/operations/run-request.ts'
import { createStepPrompt, type PrepareStep, type StepPromptDeps } from '../../orchestrator/steps/step-prompt.ts'
import { createStepRunner } from '../../orchestrator/steps/step-runner.ts'
import { createThreadHistory } from '../../orchestrator/steps/thread-messages.ts'
import { createToolLoop } from '../../orchestrator/tools/tool-loop.ts'
import { createWaitStep } from '../../orchestrator/waiting/wait-step.ts'
import type { DataSharingService } from '../../policies/policy.ts'
import type { FileRepository, ThreadRepository } from '../../repositories/repository.ts'
import type { Models } from '../create-models.ts'

export interface CreateStepsDeps {
  readonly config: PolyphonyConfig
  readonly models: Models
  readonly dataSharing: DataSharingService
  readonly threads: ThreadRepository
  readonly files: FileRepository
  /** Implemented by createAttachments. */
  readonly storeFiles: ResolveAttachments
  readonly now: () => Date
}

/** Builds the step runner with everything it needs: inputs, sharing, prompts and calls. */
export function createSteps({ config: { timeouts }, models, dataSharing, threads, files, storeFiles, now }: CreateStepsDeps) {
  const { call, estimate, tokens, pools, pricingOf, sharing, operationsOf } = models
  const historyOf = createThreadHistory(threads)
  const vendorOf = (id: string) => pricingOf(id).vendor
  const inputs: StepPromptDeps & RunRequestDeps = {
    ...sharing,
    dataSharing,
    tokens,
    vendorOf,
    operationsOf,
    historyOf,
    readFile: createFileReader(files),
    minCachedTokens: models.minCachedTokens,
    beginningRulesOf: (type) => executors[type],
  }
  const preparePrompt = createStepPrompt(inputs)
  const prepare: PrepareStep = (task, target) =>
    isRunStep(task.step) ? prepareOperation(inputs, task, target) : preparePrompt(task, target)
  const defaults = {
    maxRetries: 2,
    timeoutMs: timeouts.stepMs ?? 600_000,
    firstChunkTimeoutMs: timeouts.firstChunkMs ?? 120_000,
    idleTimeoutMs: timeouts.idleMs ?? 60_000,
    callerToolMs: timeouts.callerToolMs ?? 3_600_000,
  }
  const runWait = createWaitStep({ historyOf, now })
  const calls = { call, estimate, prepare, pools, storeFiles, now, defaults }
  const { readFile } = inputs
  const runTools = createToolLoop({ ...calls, operationsOf, ...sharing, dataSharing, tokens, vendorOf, readFile })
  return { historyOf, runStep: createStepRunner({ ...calls, runWait, runTools, operationsOf }) }
}

export type Steps = ReturnType<typeof createSteps>
