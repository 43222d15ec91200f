import type { FlowDefinitionInput } from '../../../src/domain/definition/flow-definition.ts'
import type { Polyphony } from '../../../src/polyphony.ts'
import { USER } from '../../support/scripted-flow.ts'

/** Creates and starts a flow, and resolves with its id and its end once it is paused. */
export async function startPaused(polyphony: Polyphony, threadId: string, definition: FlowDefinitionInput) {
  const { orchestrator } = polyphony
  const flow = await orchestrator.createFlow(threadId, USER, definition)
  const end = orchestrator.executeFlow(flow.id, USER, { input: 'the question' })
  // A rejection is expected by the test itself.
  end.catch(() => {})
  await untilPaused(polyphony, flow.id)
  return { flowId: flow.id, end }
}

/** Resolves when the flow has been paused `times` times. */
export async function untilPaused({ orchestrator }: Polyphony, flowId: string, times = 1, userId = USER): Promise<void> {
  let paused = 0
  for await (const update of orchestrator.streamFlow(flowId, userId)) {
    if (update.type === 'flow_paused' && ++paused === times) return
  }
  throw new Error(`Expected the flow to be paused ${times} times, found it ended after ${paused}.`)
}

export const approve = (id: string, approval: object = {}) =>
  ({ id, action: 'approve', approval: { prompt: `Is ${id} fine?`, ...approval } }) as const

export const generate = (id: string, further: object = {}) =>
  ({ id, model: 'scripted/m', action: 'generate', ...further }) as const
