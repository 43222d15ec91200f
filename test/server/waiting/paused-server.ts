import type { PolyphonyConfigInput } from '../../../src/config/config.ts'
import type { FlowDefinitionInput } from '../../../src/domain/definition/flow-definition.ts'
import { createScriptedProvider } from '../../../src/providers/scripted.ts'
import { runServer } from '../running-server.ts'

/** A draft, a decision about it, and a step that reads the decided text. */
export const decisionFlow = (approval: object = {}) =>
  ({
    name: 'decision',
    type: 'sequential',
    steps: [
      { id: 'draft', model: 'scripted/m', action: 'generate' },
      { id: 'ok', action: 'approve', approval: { prompt: 'Is it fine?', ...approval } },
      { id: 'polish', model: 'scripted/m', action: 'refine', inputFrom: 'ok' },
    ],
  }) as const satisfies FlowDefinitionInput

/** A step that waits for the event `paid`. */
export const eventFlow = (correlation?: string) =>
  ({
    name: 'payment',
    type: 'sequential',
    steps: [
      { id: 'draft', model: 'scripted/m', action: 'generate' },
      { id: 'paid', action: 'wait', event: 'paid', ...(correlation !== undefined && { correlation }) },
    ],
  }) as const satisfies FlowDefinitionInput

/** A server whose model answers with a count of its requests. */
export async function runPausedServer(config: PolyphonyConfigInput = {}) {
  let calls = 0
  const provider = createScriptedProvider({ replies: () => `text ${++calls}` })
  const running = await runServer({ simulator: false, providers: { scripted: provider }, ...config })
  const { polyphony } = running
  return {
    ...running,
    provider,
    /** A flow of the user that is paused, in a thread of its own. */
    async pause(userId: string, definition: FlowDefinitionInput) {
      const { id: threadId } = await polyphony.conversations.createThread(userId)
      const { orchestrator } = polyphony
      const flow = await orchestrator.createFlow(threadId, userId, definition)
      const end = orchestrator.executeFlow(flow.id, userId, { input: 'the question' })
      // Tests await the end themselves.
      end.catch(() => {})
      for await (const { type } of orchestrator.streamFlow(flow.id, userId)) if (type === 'flow_paused') break
      const [open] = await orchestrator.listWaiting(userId, { flowId: flow.id })
      return { flowId: flow.id, threadId, end, hash: open?.hash ?? '' }
    },
  }
}
