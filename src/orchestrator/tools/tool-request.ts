import type { PreparedRequest } from '../../calls/call.ts'
import { hasCallerMetadata } from '../../domain/execution/request-instructions.ts'
import { stepResultId } from '../../domain/execution/step-result.ts'
import { toOrigin } from '../../domain/users/origins.ts'
import type { Origin } from '../../domain/users/sharing.ts'
import type { StepTask } from '../steps/step-inputs.ts'
import type { CallAddress } from './tool-approval.ts'
import type { StepTool } from './tool-set.ts'

const NO_ORIGINS: readonly Origin[] = []
const METADATA = [toOrigin('metadata')]

/** The request of one call of a tool, and what its result is made from beside the tool and the arguments. */
export function toToolRequest(
  { run, path, iteration }: StepTask,
  sample: number,
  { turn, index }: CallAddress,
  { provider, operation }: StepTool,
  given: Readonly<Record<string, unknown>>,
): { readonly request: PreparedRequest; readonly origins: () => readonly Origin[] } {
  let readsMetadata = false
  const request: PreparedRequest = {
    provider,
    model: operation.name,
    messages: [],
    settings: {},
    arguments: given,
    origin: {
      userId: run.userId,
      flowId: run.flowId,
      stepId: path,
      // Without the number of the attempt, so that a call that is made again after a crash has the same key.
      idempotencyKey: `${stepResultId(run.flowId, { path, iteration, sample })}/${turn}.${index}`,
      // A function that does not read the metadata has a result that is not made from it.
      get metadata() {
        readsMetadata = hasCallerMetadata(run.options.metadata)
        return run.options.metadata
      },
    },
    countInputTokens: async () => 0,
  }
  return { request, origins: () => (readsMetadata ? METADATA : NO_ORIGINS) }
}
