import type { FlowLimits } from '../../domain/definition/flow-definition.ts'
import type { OrchestrationFlow } from '../../domain/execution/flow.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { runFlow, showResult } from '../run-flow.ts'
import {
  type CommandContext,
  type DatabaseOptions,
  DEMO_USER,
  LOCAL_USER,
  type OpenServices,
  toFlags,
  withServices,
} from '../services.ts'
import { prepareRun } from '../sharing.ts'

export interface ResumeOptions extends DatabaseOptions {
  readonly allowSharing?: boolean
  readonly simulate?: boolean
}

export interface RerunOptions extends ResumeOptions {
  readonly from?: string
  readonly input?: string
}

/** `polyphony flows resume <id>`. */
export async function resumeCommand(
  context: CommandContext,
  flowId: string,
  options: ResumeOptions & { readonly maxCost?: number },
): Promise<void> {
  await withServices(context, toRunFlags(options), async (open) => {
    const flow = await open.orchestrator.getFlow(flowId, LOCAL_USER)
    if (flow.userId === DEMO_USER && !open.config.simulator) {
      // Its sharing was allowed for the simulator only.
      throw new OrchestratorError('INPUT_INVALID', 'a flow of the demo can be resumed with --simulate only', {
        details: { flowId },
      })
    }
    await prepare(context, open, flow, flow.userId, options)
    await execute(context, open, flow, options.maxCost === undefined ? undefined : { maxCostUsd: options.maxCost })
  })
}

/** `polyphony flows rerun <id>`. */
export async function rerunCommand(context: CommandContext, flowId: string, options: RerunOptions): Promise<void> {
  await withServices(context, toRunFlags(options), async (open) => {
    const { orchestrator } = open
    await prepare(context, open, await orchestrator.getFlow(flowId, LOCAL_USER), LOCAL_USER, options)
    const { from: fromStep, input } = options
    await execute(context, open, await orchestrator.rerunFlow(flowId, LOCAL_USER, { fromStep, input }))
  })
}

const toRunFlags = (options: ResumeOptions) => ({ ...toFlags(options), ...(options.simulate && { simulator: true }) })

const prepare = (
  context: CommandContext,
  open: OpenServices,
  flow: OrchestrationFlow,
  userId: string,
  { allowSharing = false }: ResumeOptions,
): Promise<void> => prepareRun(context, open, flow.definition, { userId, allowSharing })

async function execute(
  context: CommandContext,
  open: OpenServices,
  { id, name }: OrchestrationFlow,
  limits?: FlowLimits,
): Promise<void> {
  showResult(context, await runFlow(context, open, { flowId: id, userId: LOCAL_USER, title: name, streaming: true, limits }))
}
