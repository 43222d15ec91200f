import type { FlowDefinitionInput } from '../../src/domain/definition/flow-definition.ts'
import type { FlowExecutionResult } from '../../src/domain/execution/flow-result.ts'
import type { FlowUpdate } from '../../src/domain/execution/flow-update.ts'
import type { ExecuteFlowOptions } from '../../src/orchestrator/service-options.ts'
import type { Polyphony } from '../../src/polyphony.ts'
import type { Provider } from '../../src/providers/provider.ts'
import { createScriptedProvider, type ScriptedProvider, type ScriptedReplies } from '../../src/providers/scripted.ts'
import { openTestPolyphony } from './polyphony.ts'

export const USER = 'user-1'

export interface ScriptedFlow {
  readonly polyphony: Polyphony
  readonly provider: ScriptedProvider
  readonly threadId: string
  readonly updates: FlowUpdate[]
  run(definition: FlowDefinitionInput, options?: ExecuteFlowOptions): Promise<FlowExecutionResult>
}

/** A Polyphony in memory whose provider `scripted` answers from a script; `also` adds further providers. */
export async function scripted(replies: ScriptedReplies, also: Readonly<Record<string, Provider>> = {}): Promise<ScriptedFlow> {
  const provider = createScriptedProvider({ replies })
  const polyphony = await openTestPolyphony({ providers: { scripted: provider, ...also } })
  const { id: threadId } = await polyphony.conversations.createThread(USER, {})
  const updates: FlowUpdate[] = []
  return {
    polyphony,
    provider,
    threadId,
    updates,
    async run(definition, options = {}) {
      const flow = await polyphony.orchestrator.createFlow(threadId, USER, definition)
      return polyphony.orchestrator.executeFlow(flow.id, USER, {
        input: 'the question',
        onUpdate: (update) => updates.push(update),
        ...options,
      })
    },
  }
}

/** `stepId` of every start, with `#iteration` for the steps of a loop. */
export const stepStarts = (updates: readonly FlowUpdate[], loops: readonly string[] = []): readonly string[] =>
  updates
    .filter((update) => update.type === 'step_start')
    .map(({ stepId, iteration }) => (loops.includes(stepId ?? '') ? `${stepId}#${iteration}` : String(stepId)))

/** The text of the last message that a request carries. */
export const lastMessage = (provider: ScriptedProvider, index: number): string =>
  provider.requests[index]?.messages.at(-1)?.content ?? ''
