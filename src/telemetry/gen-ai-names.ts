/**
 * Attribute names of the OpenTelemetry semantic conventions for generative AI that spans of Polyphony use.
 *
 * Source: github.com/open-telemetry/semantic-conventions-genai, release 0.1.0, `docs/gen-ai/client-inference.md` and
 * the workflow span of `docs/gen-ai/gen-ai-agent-spans.md`, read 2026-11-28. All names have the status Development and
 * may change. See docs/decisions/0016-own-gen-ai-names.md.
 */
export const GEN_AI = {
  OPERATION_NAME: 'gen_ai.operation.name',
  PROVIDER_NAME: 'gen_ai.provider.name',
  CONVERSATION_ID: 'gen_ai.conversation.id',
  /** Name of the flow. Until release 0.1.0 `gen_ai.workflow.name` (its CHANGELOG.md, pull request 571). */
  AGENT_NAME: 'gen_ai.agent.name',
  OUTPUT_TYPE: 'gen_ai.output.type',
  REQUEST_MODEL: 'gen_ai.request.model',
  REQUEST_STREAM: 'gen_ai.request.stream',
  REQUEST_MAX_TOKENS: 'gen_ai.request.max_tokens',
  REQUEST_TEMPERATURE: 'gen_ai.request.temperature',
  REQUEST_TOP_P: 'gen_ai.request.top_p',
  REQUEST_STOP_SEQUENCES: 'gen_ai.request.stop_sequences',
  RESPONSE_MODEL: 'gen_ai.response.model',
  RESPONSE_FINISH_REASONS: 'gen_ai.response.finish_reasons',
  /** Seconds. */
  RESPONSE_TIME_TO_FIRST_CHUNK: 'gen_ai.response.time_to_first_chunk',
  /** Includes cached tokens. */
  USAGE_INPUT_TOKENS: 'gen_ai.usage.input_tokens',
  USAGE_CACHE_READ_INPUT_TOKENS: 'gen_ai.usage.cache_read.input_tokens',
  /** Until 2026-08 `gen_ai.usage.cache_creation.input_tokens` (pull request 440). */
  USAGE_CACHE_WRITE_INPUT_TOKENS: 'gen_ai.usage.cache_write.input_tokens',
  USAGE_OUTPUT_TOKENS: 'gen_ai.usage.output_tokens',
  USAGE_REASONING_OUTPUT_TOKENS: 'gen_ai.usage.reasoning.output_tokens',
  /** Content, off by default: JSON, `[{ type: 'text', content }]`. */
  SYSTEM_INSTRUCTIONS: 'gen_ai.system_instructions',
  /** Content, off by default: JSON, `[{ role, parts: [{ type: 'text', content }] }]`. */
  INPUT_MESSAGES: 'gen_ai.input.messages',
  /** Content, off by default: JSON like the input, with additional parts of type `tool_call`. */
  OUTPUT_MESSAGES: 'gen_ai.output.messages',
} as const

/** Stable names of the general conventions (v1.44.0). */
export const GENERAL = {
  ERROR_TYPE: 'error.type',
  SERVER_ADDRESS: 'server.address',
  SERVER_PORT: 'server.port',
} as const

/** Names that the conventions lack. */
export const POLYPHONY = {
  REQUEST_ID: 'polyphony.request.id',
  FLOW_ID: 'polyphony.flow.id',
  FLOW_TYPE: 'polyphony.flow.type',
  FLOW_STATUS: 'polyphony.flow.status',
  FLOW_RESUMED: 'polyphony.flow.resumed',
  FLOW_TOKENS: 'polyphony.flow.tokens',
  FLOW_UNPRICED_STEPS: 'polyphony.flow.unpriced_steps',
  STEP_ID: 'polyphony.step.id',
  STEP_ITERATION: 'polyphony.step.iteration',
  STEP_SAMPLE: 'polyphony.step.sample',
  STEP_ACTION: 'polyphony.step.action',
  /** Id of the provider as the configuration names it. */
  PROVIDER_ID: 'polyphony.provider.id',
  SIMULATED: 'polyphony.simulated',
  /** US dollars. */
  COST_USD: 'polyphony.cost_usd',
  /** Whether an attempt was billed without a known price. */
  UNPRICED: 'polyphony.unpriced',
  USAGE_SOURCE: 'polyphony.usage.source',
  ATTEMPTS: 'polyphony.attempts',
  /** Name of the event per attempt. */
  ATTEMPT: 'polyphony.attempt',
  ATTEMPT_NUMBER: 'polyphony.attempt.number',
  ATTEMPT_DURATION_MS: 'polyphony.attempt.duration_ms',
  ATTEMPT_ABORTED: 'polyphony.attempt.aborted',
  ATTEMPT_CACHED: 'polyphony.attempt.cached',
} as const

/** Values of `gen_ai.operation.name`. */
export const OPERATION = { CHAT: 'chat', INVOKE_WORKFLOW: 'invoke_workflow' } as const

/** Value of `gen_ai.response.finish_reasons` for a failed call. */
export const NO_FINISH_REASON = 'error'

/** Schema URL of the version of the conventions. */
export const SCHEMA_URL = 'https://opentelemetry.io/schemas/gen-ai-dev/1.42.0-dev'

/** Well-known values of `gen_ai.provider.name` that differ from our vendor names. */
const PROVIDER_NAMES: Readonly<Record<string, string>> = {
  google: 'gcp.gemini',
  azure: 'azure.ai.openai',
  mistral: 'mistral_ai',
  xai: 'x_ai',
}

/** Value of `gen_ai.provider.name` for a vendor. */
export const providerNameOf = (vendor: string): string => PROVIDER_NAMES[vendor] ?? vendor

const FINISH_REASONS: Readonly<Record<string, string>> = { tool_calls: 'tool_call' }

/** Value of `gen_ai.response.finish_reasons` for one of our finish reasons. */
export const finishReasonOf = (reason: string): string => FINISH_REASONS[reason] ?? reason
