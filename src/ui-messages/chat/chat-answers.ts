import type { ConversationService } from '../../conversations/conversation-service.ts'
import { toAnswerMessage, toAnswerWriters } from '../../domain/answers/flow-answer.ts'
import type { FlowExecutionResult } from '../../domain/execution/flow-result.ts'
import type { OrchestratorService } from '../../orchestrator/orchestrator-service.ts'
import { isWaitForSomebody } from '../flow-chunks.ts'
import type { NewChatMessage } from './chat-request.ts'

export interface ChatServices {
  readonly orchestrator: Pick<
    OrchestratorService,
    | 'createFlow'
    | 'startFlow'
    | 'cancelFlow'
    | 'deleteFlow'
    | 'getFlow'
    | 'getFlowStatus'
    | 'listFlows'
    | 'streamFlow'
    | 'answerSteps'
  >
  readonly conversations: Pick<ConversationService, 'addMessage' | 'getMessages'>
}

type Question = Pick<NewChatMessage, 'chatId' | 'input' | 'attachments'> & { readonly userId: string }

/** Keeps the questions and answers of flows in their threads, each once, so that a conversation can continue. */
export function createChatAnswers({ orchestrator, conversations }: ChatServices) {
  async function keep(threadId: string, userId: string, result: FlowExecutionResult): Promise<void> {
    const { flowId, finalOutput: text, simulated } = result
    const writers = toAnswerWriters(result)
    if (!writers) return
    const { id, ...message } = toAnswerMessage({ flowId, text, simulated, provider: writers.provider })
    await conversations.addMessage(threadId, userId, message, { id })
  }

  return {
    /** Keeps the message of the user that a flow answers, with the files that the flow has stored. */
    async keepQuestion({ chatId, userId, input, attachments: given }: Question, flowId: string): Promise<void> {
      const { attachments = [] } = given.length > 0 ? await orchestrator.getFlow(flowId, userId) : {}
      await conversations.addMessage(chatId, userId, {
        role: 'user',
        content: input,
        attachments: attachments.map(({ file, ...one }) => (file ? { fileId: file.id, name: one.name } : one)),
        // The flow has it as its input; the mark keeps it out of the history of this flow.
        metadata: { orchestrationFlowId: flowId },
      })
    },
    /** Keeps the answer of a flow that has ended, which a process that died may not have done. */
    async keepEnded(threadId: string, userId: string, flowId: string): Promise<void> {
      const { result } = await orchestrator.getFlow(flowId, userId)
      if (result) await keep(threadId, userId, result)
    },
    /** Keeps the answer when the flow ends. Errors are ignored: the flow has recorded them. */
    async keepWhenEnded(threadId: string, userId: string, flowId: string): Promise<void> {
      try {
        for await (const update of orchestrator.streamFlow(flowId, userId)) {
          if (update.type === 'flow_complete') await keep(threadId, userId, update.data)
          // A decision may take days.
          if (isWaitForSomebody(update)) return
        }
      } catch {
        // It is kept with the next request of the chat.
      }
    },
  }
}
