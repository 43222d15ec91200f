import type { FastifyReply } from 'fastify'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import { callerOf, type Routes } from '../../requests/routes.ts'
import { toDecimal } from '../answer.ts'
import { answerRequest } from '../answer-request.ts'
import type { FlowCall } from '../flow-calls.ts'
import type { ModelRouteDeps } from '../model-route-deps.ts'
import { openAiError, toOpenAiError } from '../open-ai-error.ts'
import { isStream } from '../request-errors.ts'
import { openTextStream } from '../text-stream.ts'
import { chatCompletion, createChatChunks, toChatCompletion } from './chat-completion.ts'
import { type ChatRequest, chatRequest, parseChatRequest } from './chat-request.ts'

/** Chat completions. A flow in a new thread answers each of them. */
export const chatRoutes =
  ({ catalogue, calls, inFlight, streams, parsing, largeBodies }: ModelRouteDeps): Routes =>
  async (app) => {
    app.post(
      '/v1/chat/completions',
      {
        bodyLimit: largeBodies.jsonLimitBytes,
        preParsing: largeBodies.preParsing,
        schema: {
          operationId: 'createChatCompletion',
          tags: ['models'],
          summary: 'Answer the last message of the user with a flow',
          body: chatRequest,
          response: { 200: chatCompletion, default: openAiError },
        },
        // A stream cannot be stored as a response.
        config: { scope: 'execute', idempotent: (body) => !isStream(body) },
      },
      (request, reply) =>
        answerRequest(inFlight, request, reply, async (signal) => {
          const { body } = request
          const { userId, keyId: apiKeyId } = callerOf(request)
          const parsed = parseChatRequest(body, parsing)
          const call = parsed.results
            ? await calls.resume(userId, parsed.results, parsed.json)
            : await calls.begin({
                userId,
                apiKeyId,
                definition: await catalogue.getDefinition(body.model, userId, parsed.conversation.messages.length > 1),
                ...parsed,
                ...parsing,
                metadata: body.metadata ?? {},
                streaming: body.stream ?? false,
                signal,
              })
          reply.header('x-polyphony-flow-id', call.flowId)
          if (body.stream) return stream(reply, call, body, signal)
          const answer = await calls.answer(call, { signal })
          if (answer.costUsd !== undefined) reply.header('x-polyphony-cost-usd', toDecimal(answer.costUsd))
          return toChatCompletion(call, body.model, answer)
        }),
    )

    async function stream(reply: FastifyReply, call: FlowCall, body: ChatRequest, signal: AbortSignal): Promise<FastifyReply> {
      const stream = openTextStream(reply, streams)
      const chunks = createChatChunks(call, body.model, body.stream_options?.include_usage ?? false)
      let hasStarted = false
      const send = async (text: string) => {
        const start = hasStarted ? '' : chunks.start()
        hasStarted = true
        await stream.write(start + text)
      }
      try {
        const answer = await calls.answer(call, { signal, onText: (text) => send(chunks.text(text)) })
        await send(chunks.end(answer))
      } catch (thrown) {
        if (!stream.isStarted) throw thrown
        const error = OrchestratorError.from(thrown)
        if (error.code === 'INTERNAL') reply.log.error({ err: thrown }, 'a stream failed because of a bug')
        await stream.write(`data: ${JSON.stringify(toOpenAiError(error))}\n\n`)
      } finally {
        stream.end()
      }
      return reply
    }
  }
