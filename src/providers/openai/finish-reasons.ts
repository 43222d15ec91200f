import type { FinishReason } from '../../domain/execution/model-call.ts'

/** `failed`: the service broke the answer off. */
type Ending = FinishReason | 'failed'

const WORDS: readonly (readonly [Ending, readonly string[]])[] = [
  ['stop', ['stop', 'end_turn', 'eos', 'eos_token', 'stop_sequence', 'completed', 'complete']],
  ['length', ['length', 'max_tokens', 'max_output_tokens', 'model_length', 'max_length']],
  ['tool_calls', ['tool_calls', 'function_call', 'tool_use']],
  [
    'content_filter',
    ['content_filter', 'content_filtered', 'sensitive', 'safety', 'recitation', 'prohibited_content', 'blocklist'],
  ],
  ['content_filter', ['spii', 'image_safety', 'model_armor', 'language']],
  ['refusal', ['refusal']],
  // OpenRouter, DeepSeek, z.ai, vLLM, SGLang, llama.cpp, Gemini's endpoint for OpenAI clients.
  ['failed', ['error', 'abort', 'aborted', 'cancelled', 'canceled', 'failed', 'failure', 'insufficient_system_resource']],
  ['failed', ['network_error', 'timeout', 'timed_out', 'interrupted', 'preempted', 'server_error', 'internal_error']],
  ['failed', ['malformed_function_call']],
]

const BY_WORD: ReadonlyMap<string, Ending> = new Map(
  WORDS.flatMap(([ending, words]) => words.map((word) => [word, ending] as const)),
)

/** Maps a vendor's finish reason to ours. Words may have a detail (`content_filter: RECITATION`). */
export function toFinishReason(word: string): Ending {
  return BY_WORD.get(word) ?? BY_WORD.get(word.toLowerCase().replace(/\W.*$/s, '')) ?? 'other'
}
