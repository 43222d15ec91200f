import type { OrchestrationFlow } from '../../domain/flow.ts'
import type { FlowDefinitionInput } from '../../domain/flow-definition.ts'
import { type CommandContext, type DatabaseOptions, LOCAL_USER, type OpenHouse, toFlags, withHouse } from '../house.ts'
import { runFlow, showResult } from '../run-flow.ts'
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
export async function resumeCommand(context: CommandContext, flowId: string, options: ResumeOptions): Promise<void> {
  await withHouse(context, toRunFlags(options), async (open) => {
    await execute(context, open, await open.orchestrator.getFlow(flowId, LOCAL_USER), options)
  })
}

/** `polyphony flows rerun <id>`. */
export async function rerunCommand(context: CommandContext, flowId: string, options: RerunOptions): Promise<void> {
  await withHouse(context, toRunFlags(options), async (open) => {
    const { from: fromStep, input } = options
    await execute(context, open, await open.orchestrator.rerunFlow(flowId, LOCAL_USER, { fromStep, input }), options)
  })
}

const toRunFlags = (options: ResumeOptions) => ({ ...toFlags(options), ...(options.simulate && { simulator: true }) })

async function execute(
  context: CommandContext,
  open: OpenHouse,
  flow: OrchestrationFlow,
  { allowSharing = false }: ResumeOptions,
): Promise<void> {
  await prepareRun(context, open, toInput(flow), { userId: flow.userId, allowSharing })
  showResult(context, await runFlow(context, open, { flowId: flow.id, userId: LOCAL_USER, title: flow.name, streaming: true }))
}

/** A stored definition as one that can be checked again. */
const toInput = ({ definition }: OrchestrationFlow): FlowDefinitionInput => ({
  ...definition,
  steps: definition.steps.map((step) => ({ ...step, fallbacks: [...step.fallbacks] })),
})
