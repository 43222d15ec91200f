import { createKeyedMutex } from '../../async/keyed-mutex.ts'
import type { FlowDefinition, FlowDefinitionInput } from '../../domain/definition/flow-definition.ts'
import type { OrchestrationFlowSummary } from '../../domain/execution/flow.ts'
import type { Message } from '../../domain/users/thread.ts'
import { ERROR_CODES } from '../../errors/error-codes.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { toFileChunks } from '../answer-parts.ts'
import { toErrorText } from '../states.ts'
import { toUIMessageStreamResponse, type UIMessageResponseOptions } from '../ui-message-response.ts'
import { type ChatServices, createChatAnswers } from './chat-answers.ts'
import { type NewChatMessage, readChatMessage } from './chat-request.ts'

/** What a flow is chosen by. */
export interface Chat extends NewChatMessage {
  readonly userId: string
}

/** Options of `createChatHandlers`. */
export interface ChatHandlersOptions {
  /** What `createPolyphony` resolves with. */
  readonly polyphony: ChatServices
  /**
   * The user of a request: of its session, never of what the page itself says. Undefined, null or empty: the response
   * is 401. Rights on the thread decide what the user may read and do.
   */
  readonly userOf: (request: Request) => string | null | undefined | Promise<string | null | undefined>
  /** The flow that answers, or a function that selects it for each message. */
  readonly flow: FlowDefinitionInput | ((chat: Chat) => FlowDefinitionInput | Promise<FlowDefinitionInput>)
  /** Options of the streams; `answerSteps` and `endsAtWait` are known. */
  readonly stream?: Omit<UIMessageResponseOptions, 'answerSteps' | 'endsAtWait' | 'messageId'>
  /** Longest request in bytes, with the files in it. Default: 10 MB. */
  readonly maxBodyBytes?: number
}

/** Handlers of web-standard requests. None rejects: an error is a response with its status, and its message as text. */
export interface ChatHandlers {
  /** `POST /api/chat`: starts a flow on the new message and streams its answer. 409 while the last one is open. */
  send(request: Request): Promise<Response>
  /**
   * `GET /api/chat/:id/stream`: the running answer from its beginning; 204 where nothing runs. With the id of the
   * page's last message as `?after=`, also an answer that ended since the page read its messages.
   */
  resume(request: Request, chatId: string): Promise<Response>
  /** `DELETE /api/chat/:id/stream`: cancels the running flow; 204. */
  stop(request: Request, chatId: string): Promise<Response>
  /** `GET /api/chat/:id`: the messages so far as JSON, for `messages` of `useChat`. */
  messages(request: Request, chatId: string): Promise<Response>
}

const MAX_BODY_BYTES = 10_000_000
const OPEN: readonly string[] = ['RUNNING', 'PAUSED']

/**
 * The server of `useChat`: a chat is a thread, whose id is the id of the chat, and each message of the user starts a
 * flow in it. A flow runs on when the page is closed or reloaded, and can be resumed on any process.
 *
 * ```ts
 * import { createCritiqueFlow } from 'polyphony'
 * import { createChatHandlers } from 'polyphony/ai-sdk'
 *
 * const sessions = new Map<string, string>()
 * const userOf = (request: Request) => sessions.get(request.headers.get('cookie') ?? '')
 * const chat = createChatHandlers({ polyphony, userOf, flow: createCritiqueFlow() })
 * export const POST = chat.send
 * ```
 */
export function createChatHandlers(options: ChatHandlersOptions): ChatHandlers {
  const { polyphony, userOf, flow, stream, maxBodyBytes = MAX_BODY_BYTES } = options
  const { orchestrator, conversations } = polyphony
  const answers = createChatAnswers(polyphony)
  /** A message that is sent twice at once must not be answered, and paid for, twice. */
  const oneByOne = createKeyedMutex()

  async function answering(request: Request, work: (userId: string) => Promise<Response>): Promise<Response> {
    try {
      const userId = await userOf(request)
      if (!userId) throw new OrchestratorError('UNAUTHENTICATED', 'Expected a user who is signed in')
      return await work(userId)
    } catch (thrown) {
      const error = OrchestratorError.from(thrown)
      const status = ERROR_CODES[error.code].httpStatus
      return new Response(toErrorText(error), { status, headers: { 'content-type': 'text/plain; charset=utf-8' } })
    }
  }

  async function newestFlow(threadId: string, userId: string): Promise<OrchestrationFlowSummary | undefined> {
    const [newest] = await orchestrator.listFlows(threadId, userId, { limit: 1 })
    return newest
  }

  async function follow(flowId: string, userId: string, definition: FlowDefinition): Promise<Response> {
    return toUIMessageStreamResponse((signal) => orchestrator.streamFlow(flowId, userId, { signal }), {
      ...stream,
      answerSteps: await orchestrator.answerSteps(definition),
      endsAtWait: async () => (await orchestrator.getFlowStatus(flowId, userId)).status === 'PAUSED',
    })
  }

  /** Starts a flow; an error before its start leaves the thread as it was. */
  async function start(chat: Chat): Promise<Response> {
    const { chatId: threadId, userId, input, attachments, isRepeated } = chat
    const newest = await newestFlow(threadId, userId)
    if (newest && OPEN.includes(newest.status)) {
      throw new OrchestratorError('FLOW_ALREADY_RUNNING', 'Expected the last answer to have ended, found it running or waiting', {
        details: { flowId: newest.id },
      })
    }
    if (newest?.status === 'COMPLETED') await answers.keepEnded(threadId, userId, newest.id)
    const chosen = typeof flow === 'function' ? await flow(chat) : flow
    const { id: flowId, definition } = await orchestrator.createFlow(threadId, userId, chosen)
    try {
      const run = { input, streaming: true, resumeAfterCrash: true }
      await orchestrator.startFlow(flowId, userId, { ...run, attachments: [...attachments] })
      if (!isRepeated) await answers.keepQuestion(chat, flowId)
    } catch (error) {
      await orchestrator.cancelFlow(flowId, userId).catch(() => {})
      await orchestrator.deleteFlow(flowId, userId).catch(() => {})
      throw error
    }
    void answers.keepWhenEnded(threadId, userId, flowId)
    return follow(flowId, userId, definition)
  }

  return {
    send: (request) =>
      answering(request, async (userId) => {
        const chat = { ...(await readChatMessage(request, maxBodyBytes)), userId }
        return oneByOne(chat.chatId, () => start(chat))
      }),
    resume: (request, chatId) =>
      answering(request, async (userId) => {
        const newest = await newestFlow(chatId, userId)
        const after = new URL(request.url).searchParams.get('after')
        const isMissed = after !== null && after !== newest?.id
        if (!newest || !(isMissed || OPEN.includes(newest.status))) return new Response(null, { status: 204 })
        return follow(newest.id, userId, newest.definition)
      }),
    stop: (request, chatId) =>
      answering(request, async (userId) => {
        const newest = await newestFlow(chatId, userId)
        if (newest && OPEN.includes(newest.status)) await orchestrator.cancelFlow(newest.id, userId)
        return new Response(null, { status: 204 })
      }),
    messages: (request, chatId) =>
      answering(request, async (userId) => {
        const newest = await newestFlow(chatId, userId)
        if (newest?.status === 'COMPLETED') await answers.keepEnded(chatId, userId, newest.id)
        const messages = await conversations.getMessages(chatId, userId)
        const toOne = (message: Message) => toUIMessage(message, stream?.fileUrl)
        return Response.json(messages.filter(({ role }) => role !== 'system').map(toOne))
      }),
  }
}

/** A stored message in the form of the AI SDK. An answer has the id that its stream has. */
function toUIMessage(message: Message, fileUrl: UIMessageResponseOptions['fileUrl']) {
  const { id, role, content, metadata, attachments: files } = message
  const flowId = role === 'assistant' ? metadata.orchestrationFlowId : undefined
  return {
    id: typeof flowId === 'string' ? flowId : id,
    role,
    parts: [...toFileChunks([{ files }], fileUrl), { type: 'text', text: content }],
    ...(typeof flowId === 'string' && { metadata: { flowId } }),
  }
}
