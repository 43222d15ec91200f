import {
  type Attributes,
  type AttributeValue,
  type Context,
  context,
  createContextKey,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api'
import type {
  CallContent,
  CallEnding,
  CallObservation,
  CallStart,
  FlowEnding,
  FlowObservation,
  StartedFlow,
} from '../domain/execution/observation.ts'
import type { Attempt } from '../domain/execution/step-result.ts'
import type { Usage } from '../domain/execution/usage.ts'
import type { ErrorCode } from '../errors/error-codes.ts'
import {
  finishReasonOf,
  GEN_AI,
  GENERAL,
  NO_FINISH_REASON,
  OPERATION,
  POLYPHONY,
  providerNameOf,
  SCHEMA_URL,
} from './gen-ai-names.ts'
import { requestContext } from './request-context.ts'

export interface TracingOptions {
  readonly providers: readonly TracedProvider[]
  /** Whether spans contain prompts and answers. */
  readonly captureContent: boolean
}

/** The fields of a configured provider that spans contain. */
export interface TracedProvider {
  readonly id: string
  readonly vendor: string
  /** Its address. Left out of spans if it is not a URL. */
  readonly origin: string
}

/**
 * The context key that disables tracing in OpenTelemetry SDKs (`@opentelemetry/core`, suppressTracing). Equal
 * descriptions give equal keys. Otherwise instrumentations of a vendor's SDK or of `fetch` would duplicate the span of
 * a call and send `traceparent` to the vendor.
 */
const SUPPRESS_TRACING = createContextKey('OpenTelemetry SDK Context Key SUPPRESS_TRACING')

/** Creates spans of flows and calls with the OpenTelemetry API, for the SDK that the application registered. */
export function createTracing({ providers, captureContent }: TracingOptions): (flow: StartedFlow) => FlowObservation {
  const describe = createDescriptions(providers)

  return (flow) => {
    const tracer = trace.getTracerProvider().getTracer('polyphony', undefined, { schemaUrl: SCHEMA_URL })
    const parent = context.active()
    const attributes = flowAttributes(flow)
    const span = tracer.startSpan(`${OPERATION.INVOKE_WORKFLOW} ${flow.name}`, { kind: SpanKind.INTERNAL, attributes }, parent)
    const flowContext = trace.setSpan(parent, span)
    return {
      within: (work) => context.with(flowContext, work),
      callStarted: (call) => startCall({ tracer, flowContext, flow, describe, captureContent }, call),
      ended: (ending) => endFlow(span, ending),
    }
  }
}

interface CallTracingDeps {
  readonly tracer: Tracer
  /** The parent of call spans, independent of the async context in which a call starts. */
  readonly flowContext: Context
  readonly flow: StartedFlow
  readonly describe: (providerId: string) => Attributes
  readonly captureContent: boolean
}

function startCall({ tracer, flowContext, flow, describe, captureContent }: CallTracingDeps, call: CallStart): CallObservation {
  const attributes = { ...callAttributes(flow, call), ...describe(call.provider) }
  const span = tracer.startSpan(`${OPERATION.CHAT} ${call.model}`, { kind: SpanKind.CLIENT, attributes }, flowContext)
  const callContext = trace.setSpan(flowContext, span).setValue(SUPPRESS_TRACING, true)
  return {
    within: (work) => context.with(callContext, work),
    attempted: (attempt) => span.addEvent(POLYPHONY.ATTEMPT, attemptAttributes(attempt)),
    ended: (ending) => endCall(span, ending, describe),
    content: captureContent ? writeContent(span, call) : undefined,
  }
}

const flowAttributes = (flow: StartedFlow): Attributes =>
  known({
    [GEN_AI.OPERATION_NAME]: OPERATION.INVOKE_WORKFLOW,
    [GEN_AI.AGENT_NAME]: flow.name,
    [GEN_AI.CONVERSATION_ID]: flow.threadId,
    [POLYPHONY.REQUEST_ID]: requestContext.current()?.requestId,
    [POLYPHONY.FLOW_ID]: flow.flowId,
    [POLYPHONY.FLOW_TYPE]: flow.flowType,
    [POLYPHONY.FLOW_RESUMED]: flow.resumed || undefined,
    [POLYPHONY.STEP_ID]: flow.stepId,
    [POLYPHONY.SIMULATED]: flow.simulated || undefined,
  })

function endFlow(span: Span, { status, errorCode, costUsd, tokens, unpricedSteps, simulated }: FlowEnding): void {
  span.setAttributes(
    known({
      [POLYPHONY.FLOW_STATUS]: status,
      [POLYPHONY.COST_USD]: costUsd,
      [POLYPHONY.FLOW_TOKENS]: tokens,
      [POLYPHONY.FLOW_UNPRICED_STEPS]: unpricedSteps || undefined,
      [POLYPHONY.SIMULATED]: simulated || undefined,
    }),
  )
  end(span, errorCode)
}

const callAttributes = ({ flowId, threadId }: StartedFlow, call: CallStart): Attributes =>
  known({
    [GEN_AI.OPERATION_NAME]: OPERATION.CHAT,
    [GEN_AI.CONVERSATION_ID]: threadId,
    [GEN_AI.REQUEST_MODEL]: call.model,
    [GEN_AI.REQUEST_STREAM]: call.streamed || undefined,
    [GEN_AI.REQUEST_MAX_TOKENS]: call.settings.maxTokens,
    [GEN_AI.REQUEST_TEMPERATURE]: call.settings.temperature,
    [GEN_AI.REQUEST_TOP_P]: call.settings.topP,
    [GEN_AI.OUTPUT_TYPE]: call.structured ? 'json' : undefined,
    [POLYPHONY.FLOW_ID]: flowId,
    [POLYPHONY.STEP_ID]: call.stepId,
    [POLYPHONY.STEP_ITERATION]: call.iteration,
    [POLYPHONY.STEP_SAMPLE]: call.sample || undefined,
    [POLYPHONY.STEP_ACTION]: call.action,
  })

// Only the code of an error, because its message may quote a vendor.
const attemptAttributes = (attempt: Attempt): Attributes =>
  known({
    [POLYPHONY.ATTEMPT_NUMBER]: attempt.number,
    [POLYPHONY.PROVIDER_ID]: attempt.provider,
    [GEN_AI.RESPONSE_MODEL]: attempt.model,
    [POLYPHONY.ATTEMPT_DURATION_MS]: attempt.executionTime,
    [GENERAL.ERROR_TYPE]: attempt.error?.code,
    [POLYPHONY.ATTEMPT_ABORTED]: attempt.aborted || undefined,
    [POLYPHONY.ATTEMPT_CACHED]: attempt.cached || undefined,
    ...usageAttributes(attempt.usage),
    [POLYPHONY.COST_USD]: attempt.cost,
    [POLYPHONY.SIMULATED]: attempt.simulated || undefined,
  })

function endCall(span: Span, ending: CallEnding, describe: CallTracingDeps['describe']): void {
  const { answer, attempts, usage, errorCode, firstChunkMs } = ending
  const reason = answer ? finishReasonOf(answer.finishReason) : attempts > 0 ? NO_FINISH_REASON : undefined
  span.setAttributes({
    // Replaces the attributes of the first provider if a fallback answered.
    ...(answer && describe(answer.provider)),
    ...known({
      [GEN_AI.RESPONSE_MODEL]: answer?.model,
      [GEN_AI.RESPONSE_FINISH_REASONS]: reason && [reason],
      [GEN_AI.RESPONSE_TIME_TO_FIRST_CHUNK]: firstChunkMs === undefined ? undefined : firstChunkMs / 1_000,
      ...usageAttributes(usage),
      [POLYPHONY.ATTEMPTS]: attempts,
      [POLYPHONY.COST_USD]: ending.costUsd,
      [POLYPHONY.UNPRICED]: ending.unpriced || undefined,
      [POLYPHONY.SIMULATED]: ending.simulated || undefined,
    }),
  })
  end(span, errorCode)
}

function end(span: Span, errorCode: ErrorCode | undefined): void {
  if (errorCode !== undefined) {
    span.setAttribute(GENERAL.ERROR_TYPE, errorCode)
    span.setStatus({ code: SpanStatusCode.ERROR })
  }
  span.end()
}

const usageAttributes = (usage: Usage | undefined): MaybeAttributes => ({
  [GEN_AI.USAGE_INPUT_TOKENS]: usage?.inputTokens,
  [GEN_AI.USAGE_CACHE_READ_INPUT_TOKENS]: usage?.cachedInputTokens,
  [GEN_AI.USAGE_CACHE_WRITE_INPUT_TOKENS]: usage?.cacheWriteTokens,
  [GEN_AI.USAGE_OUTPUT_TOKENS]: usage?.outputTokens,
  [GEN_AI.USAGE_REASONING_OUTPUT_TOKENS]: usage?.reasoningTokens,
  [POLYPHONY.USAGE_SOURCE]: usage?.source,
})

/**
 * Sets the content attributes, for `telemetry.captureContent` only. Attributes cannot hold objects, so the values are
 * JSON.
 */
function writeContent(span: Span, { settings }: CallStart): CallContent {
  if (settings.stopSequences) span.setAttribute(GEN_AI.REQUEST_STOP_SEQUENCES, [...settings.stopSequences])
  const text = (content: string) => ({ type: 'text', content })
  return {
    asked({ system, messages }) {
      if (system !== undefined) span.setAttribute(GEN_AI.SYSTEM_INSTRUCTIONS, JSON.stringify([text(system)]))
      const input = messages.map(({ role, content }) => ({ role, parts: [text(content)] }))
      span.setAttribute(GEN_AI.INPUT_MESSAGES, JSON.stringify(input))
    },
    answered({ text: answer, toolCalls = [] }) {
      const calls = toolCalls.map(({ id, name, arguments: given }) => ({ type: 'tool_call', id, name, arguments: given }))
      const output = [{ role: 'assistant', parts: answer === '' ? calls : [text(answer), ...calls] }]
      span.setAttribute(GEN_AI.OUTPUT_MESSAGES, JSON.stringify(output))
    },
  }
}

/** Attributes of each provider, computed once. */
function createDescriptions(providers: readonly TracedProvider[]): (providerId: string) => Attributes {
  const descriptions = new Map(providers.map((provider) => [provider.id, descriptionOf(provider)]))
  return (id) => descriptions.get(id) ?? { [GEN_AI.PROVIDER_NAME]: providerNameOf(id), [POLYPHONY.PROVIDER_ID]: id }
}

function descriptionOf({ id, vendor, origin }: TracedProvider): Attributes {
  const names = { [GEN_AI.PROVIDER_NAME]: providerNameOf(vendor), [POLYPHONY.PROVIDER_ID]: id }
  if (!URL.canParse(origin)) return names
  const { hostname, port, protocol } = new URL(origin)
  return {
    ...names,
    [GENERAL.SERVER_ADDRESS]: hostname,
    [GENERAL.SERVER_PORT]: Number(port) || (protocol === 'http:' ? 80 : 443),
  }
}

type MaybeAttributes = Readonly<Record<string, AttributeValue | undefined>>

const known = (attributes: MaybeAttributes): Attributes =>
  Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined))
