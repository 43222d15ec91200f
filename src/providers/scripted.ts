import type { ModelRequest, ModelResponse } from '../domain/execution/model-call.ts'
import { UNKNOWN_USAGE } from '../domain/execution/usage.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { GenerateOptions, Provider } from './provider.ts'

/** One answer of a scripted provider; every field is optional. With `toolCalls` it finishes with `tool_calls`. */
export interface ScriptedAnswer extends Partial<ModelResponse> {
  /** Chunks for `onDelta`; default: the whole text as one chunk. */
  readonly chunks?: readonly string[]
  /** Milliseconds before every chunk, and before an answer that is not streamed. */
  readonly delayMs?: number
  /** Whether to deliver the chunks and then stay pending until an abort. */
  readonly hang?: true
}

/** A text, an answer, or an error to reject with. */
export type ScriptedReply = string | ScriptedAnswer | Error

/** Answers in order, or a function that returns the answer to a request; `index` counts requests from 0. */
export type ScriptedReplies =
  | readonly ScriptedReply[]
  | ((request: ModelRequest, index: number) => ScriptedReply | Promise<ScriptedReply>)

export interface ScriptedProviderOptions {
  /** Default `scripted`. */
  readonly id?: string
  /** Vendor by which prices are found; default: the id. */
  readonly vendor?: string
  /** Default false. */
  readonly simulated?: boolean
  readonly replies: ScriptedReplies
}

export interface ScriptedProvider extends Provider {
  /** Every request so far, in order of arrival. */
  readonly requests: readonly ModelRequest[]
}

/**
 * An in-memory provider that answers from a script, for tests and demonstrations, without network and SDK.
 * After the last reply of a list it rejects with PROVIDER_REJECTED, which is not retried.
 *
 * ```ts
 * import { createScriptedProvider } from 'polyphony'
 *
 * const provider = createScriptedProvider({ replies: ['first answer', new Error('second request fails')] })
 * ```
 */
export function createScriptedProvider(options: ScriptedProviderOptions): ScriptedProvider {
  const id = options.id ?? 'scripted'
  const requests: ModelRequest[] = []

  async function generate(request: ModelRequest, { signal, onDelta, onActivity }: GenerateOptions): Promise<ModelResponse> {
    signal.throwIfAborted()
    const index = requests.push(request) - 1
    const reply = await nextReply(id, options.replies, request, index)
    signal.throwIfAborted()
    if (reply instanceof Error) throw reply
    const { chunks, delayMs, hang, ...answer } = typeof reply === 'string' ? { text: reply } : reply
    const { text = chunks?.join('') ?? '', toolCalls } = answer
    for (const chunk of onDelta ? (chunks ?? [text]) : ['']) {
      if (delayMs) await waitFor(delayMs, signal)
      signal.throwIfAborted()
      onActivity?.()
      if (chunk) onDelta?.(chunk)
    }
    if (hang) await waitFor(undefined, signal)
    const finishReason = toolCalls?.length ? 'tool_calls' : 'stop'
    return { finishReason, model: request.model, usage: UNKNOWN_USAGE, notes: [], ...answer, text }
  }

  return {
    id,
    kind: 'scripted',
    vendor: options.vendor ?? id,
    simulated: options.simulated ?? false,
    requests,
    generate,
    ping: async (signal) => signal.throwIfAborted(),
  }
}

async function nextReply(id: string, replies: ScriptedReplies, request: ModelRequest, index: number): Promise<ScriptedReply> {
  const reply = typeof replies === 'function' ? await replies(request, index) : replies[index]
  if (reply !== undefined) return reply
  throw new OrchestratorError('PROVIDER_REJECTED', `scripted provider "${id}" has no reply left for request ${index + 1}`, {
    details: { provider: id, request: index + 1 },
  })
}

/** Resolves after `delayMs`, or never if it is undefined. Rejects with the reason of the signal. */
function waitFor(delayMs: number | undefined, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const timer = delayMs === undefined ? undefined : setTimeout(finish, delayMs)
    function finish() {
      signal.removeEventListener('abort', abort)
      resolve()
    }
    function abort() {
      clearTimeout(timer)
      reject(signal.reason)
    }
    signal.addEventListener('abort', abort, { once: true })
  })
}
