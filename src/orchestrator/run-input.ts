import type { FlowDefinition } from '../domain/flow-definition.ts'
import type { Attachment, Message } from '../domain/thread.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { StoredFlow } from '../repositories/repository.ts'

/** The prompt of a run and what came with it. */
export interface RunInput {
  readonly text: string
  readonly messageId?: string
  readonly attachments: readonly Attachment[]
}

/** Where the prompt of a run comes from: the option, an earlier run, the definition, the thread's newest user message. */
export async function resolveInput(
  { flow, definition, given }: { readonly flow: StoredFlow; readonly definition: FlowDefinition; readonly given?: string },
  newestUserMessage: (threadId: string) => Promise<Message | undefined>,
): Promise<RunInput> {
  const text = given ?? flow.input ?? definition.input
  if (text !== undefined && text !== flow.input) return { text, attachments: [] }
  const message = await newestUserMessage(flow.threadId)
  // An earlier run may have taken its prompt from this message, with what is attached to it.
  if (text !== undefined && message?.content !== text) return { text, attachments: [] }
  if (message) return { text: message.content, messageId: message.id, attachments: message.attachments ?? [] }
  throw new OrchestratorError(
    'FLOW_INPUT_MISSING',
    'Expected options.input, an input in the definition or a user message in the thread; found none',
    {
      details: { flowId: flow.id, threadId: flow.threadId },
    },
  )
}
