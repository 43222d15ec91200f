import type { FastifyReply } from 'fastify'
import * as z from 'zod'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import { id } from '../../../protocol/instant.ts'
import type { Caller } from '../../access/caller.ts'
import { callerOf, type Routes } from '../../requests/routes.ts'
import { toDecimal } from '../answer.ts'
import { answerRequest, runInBackground } from '../answer-request.ts'
import type { FlowCall } from '../flow-calls.ts'
import type { ModelRouteDeps } from '../model-route-deps.ts'
import { openAiError } from '../open-ai-error.ts'
import { isStream, refusal } from '../request-errors.ts'
import { openTextStream } from '../text-stream.ts'
import { createResponseEvents } from './response-events.ts'
import { type ResponseFacts, toFlowMetadata, toResponseFacts } from './response-facts.ts'
import {
  type ResponseKey,
  type ResponseObject,
  responseId,
  responseObject,
  toOpenResponse,
  toResponseError,
} from './response-object.ts'
import { parseResponseRequest, type ResponseRequest, responseRequest } from './response-request.ts'
import { type Continuation, createStoredResponses, toInstructions } from './stored-responses.ts'

const responseParams = z.object({ responseId: id })
const answers = { 200: responseObject, default: openAiError }

const keyOf = ({ flowId, results }: FlowCall): ResponseKey => ({ flowId, count: results?.count ?? 0 })

/** Responses: flows that can be read again later, and after which a conversation can continue. */
export const responseRoutes =
  ({ orchestrator, conversations, catalogue, calls, inFlight, streams, parsing, largeBodies }: ModelRouteDeps): Routes =>
  async (app) => {
    const stored = createStoredResponses({ orchestrator, conversations })
    const tags = ['models']

    app.post(
      '/v1/responses',
      {
        bodyLimit: largeBodies.jsonLimitBytes,
        preParsing: largeBodies.preParsing,
        schema: { operationId: 'createResponse', tags, summary: 'Answer with a flow', body: responseRequest, response: answers },
        config: { scope: 'execute', idempotent: (body) => !isStream(body) },
      },
      (request, reply) =>
        answerRequest(inFlight, request, reply, async (signal) => {
          const { body } = request
          const facts = toResponseFacts(body, parsing)
          const call = await begin(body, facts, callerOf(request), signal)
          reply.header('x-polyphony-flow-id', call.flowId)
          if (body.stream) return stream(reply, call, facts, signal)
          if (facts.background) {
            runInBackground(inFlight, (closing) => calls.answer(call, { signal: closing, keepRunning: true }))
            return toOpenResponse({ ...keyOf(call), createdAt: call.createdAt }, facts, 'queued')
          }
          const answer = await calls.answer(call, { signal })
          if (answer.costUsd !== undefined) reply.header('x-polyphony-cost-usd', toDecimal(answer.costUsd))
          return stored.current(keyOf(call), call.userId, facts)
        }),
    )

    app.get(
      '/v1/responses/:responseId',
      {
        schema: {
          operationId: 'getResponse',
          tags,
          summary: 'Read a response',
          params: responseParams,
          querystring: z.object({ stream: z.string().max(10).optional() }),
          response: answers,
        },
        config: { scope: 'read' },
      },
      async (request) => {
        if (request.query.stream === 'true') {
          throw refusal('stream', 'stream: a response can be streamed only while it is created', 'unsupported_parameter')
        }
        const { userId } = callerOf(request)
        const { flow, facts, count } = await stored.get(request.params.responseId, userId)
        return stored.current({ flowId: flow.id, count }, userId, facts)
      },
    )

    app.post(
      '/v1/responses/:responseId/cancel',
      {
        schema: {
          operationId: 'cancelResponse',
          tags,
          summary: 'Cancel a response and its model calls',
          params: responseParams,
          response: answers,
        },
        config: { scope: 'execute' },
      },
      async (request) => {
        const { userId } = callerOf(request)
        const { flow, facts, count } = await stored.get(request.params.responseId, userId)
        await orchestrator.cancelFlow(flow.id, userId)
        return stored.current({ flowId: flow.id, count }, userId, facts)
      },
    )

    async function begin(body: ResponseRequest, facts: ResponseFacts, caller: Caller, signal: AbortSignal): Promise<FlowCall> {
      const { userId, keyId: apiKeyId } = caller
      const parsed = parseResponseRequest(body, parsing)
      if (parsed.results) return calls.resume(userId, parsed.results, parsed.json)
      const { conversation } = parsed
      const { instructions, previousResponseId: previousId } = facts
      const beginWith = async ({ threadId, before }: Continuation) => {
        const hasHistory = threadId !== undefined || before.length + conversation.messages.length > 1
        const definition = await catalogue.getDefinition(body.model, userId, hasHistory)
        const metadata = toFlowMetadata(facts)
        return calls.begin({
          userId,
          apiKeyId,
          definition,
          ...parsed,
          threadId,
          before,
          metadata,
          streaming: body.stream ?? false,
          ...parsing,
          signal,
        })
      }
      if (previousId === undefined) return beginWith({ before: toInstructions(instructions) })
      return stored.continueAfter({ previousId, instructions, userId }, beginWith)
    }

    async function stream(reply: FastifyReply, call: FlowCall, facts: ResponseFacts, signal: AbortSignal): Promise<FastifyReply> {
      const { userId, createdAt } = call
      const open = toOpenResponse({ ...keyOf(call), createdAt }, facts)
      const events = createResponseEvents(open, keyOf(call))
      const stream = openTextStream(reply, streams)
      await stream.write(events.start())
      try {
        await calls.answer(call, { signal, keepRunning: facts.background, onText: (text) => stream.write(events.text(text)) })
        await stream.write(events.end(await stored.current(keyOf(call), userId, facts)))
      } catch (thrown) {
        const error = OrchestratorError.from(thrown)
        if (error.code === 'INTERNAL') reply.log.error({ err: thrown }, 'a stream failed because of a bug')
        await stream.write(events.end(await failed(open, call, facts, error)))
      } finally {
        stream.end()
      }
      return reply
    }

    /**
     * The failed response: built from its flow if the flow has failed, otherwise from the error, because the flow may
     * be deleted or may not have ended yet.
     */
    async function failed(
      open: ResponseObject,
      call: FlowCall,
      facts: ResponseFacts,
      error: OrchestratorError,
    ): Promise<ResponseObject> {
      const current = await stored.current(keyOf(call), call.userId, facts).catch(() => undefined)
      if (current?.status === 'failed') return current
      return { ...open, ...current, id: responseId(keyOf(call)), output: [], status: 'failed', error: toResponseError(error) }
    }
  }
