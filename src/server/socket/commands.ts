import type { FlowStatusReport } from '../../domain/flow.ts'
import type { ClientFrame } from '../../protocol/socket.ts'
import { type Caller, requireScope } from '../access/caller.ts'
import type { ServerParts } from '../parts.ts'

type CommandFrame = Extract<ClientFrame, { type: 'execute' | 'cancel' }>

/** Does what a frame asks for with a flow and answers with where the flow stands. Rejects as the HTTP routes do. */
export type Command = (caller: Caller, frame: CommandFrame) => Promise<FlowStatusReport>

export const createCommand =
  ({ orchestrator }: Pick<ServerParts, 'orchestrator'>): Command =>
  async (caller, frame) => {
    requireScope(caller, 'execute')
    if (frame.type === 'cancel') return orchestrator.cancelFlow(frame.flowId, caller.userId)
    return orchestrator.startFlow(frame.flowId, caller.userId, { streaming: true, resumeAfterCrash: true, ...frame.options })
  }
