import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { type AnyUpdate, createFlowChunks, type FlowChunkOptions, isWaitForSomebody } from './flow-chunks.ts'
import type { FlowUIMessageChunk } from './ui-message.ts'

/** Options of `toUIMessageStream`. */
export interface UIMessageStreamOptions extends FlowChunkOptions {
  /**
   * Called at each wait for a decision or an event; the stream ends if it resolves with true, because an answer may
   * take days. Default: the stream waits too.
   */
  readonly endsAtWait?: () => boolean | Promise<boolean>
}

/** Updates of one flow, or a function that begins to read them and ends when its signal is aborted. */
export type FlowUpdates = AsyncIterable<AnyUpdate> | ((signal: AbortSignal) => AsyncIterable<AnyUpdate>)

/**
 * The updates of one flow, from its first one on, as a UI message stream of the AI SDK (versions 5 to 7), which
 * `createUIMessageStreamResponse` of `ai` sends and `readUIMessageStream` reads. An update is read only when a chunk is
 * asked for, so a slow reader takes no memory. Cancelling the stream leaves the updates and never the flow; updates
 * that are given as a function are left at once, through its signal, and others with their next update.
 *
 * The answer of the flow is the text. Its steps, its state and the value of a structured answer are data parts
 * (`FlowDataParts`), usage and cost the metadata of the message (`FlowMessageMetadata`). A flow that fails, or updates
 * that break off, end with an `error` chunk; the stream itself never fails.
 *
 * ```ts
 * import { toUIMessageStream } from 'polyphony/ai-sdk'
 *
 * const { orchestrator } = polyphony
 * const { definition } = await orchestrator.getFlow(flow.id, 'ada')
 * const answerSteps = await orchestrator.answerSteps(definition)
 * const stream = toUIMessageStream((signal) => orchestrator.streamFlow(flow.id, 'ada', { signal }), { answerSteps })
 * ```
 */
export function toUIMessageStream(
  updates: FlowUpdates,
  options: UIMessageStreamOptions = {},
): ReadableStream<FlowUIMessageChunk> {
  const leaving = new AbortController()
  const chunks = chunksOf(typeof updates === 'function' ? updates(leaving.signal) : updates, options)
  return new ReadableStream<FlowUIMessageChunk>(
    {
      async pull(controller) {
        const next = await chunks.next()
        if (next.done) controller.close()
        else controller.enqueue(next.value)
      },
      cancel() {
        leaving.abort()
        // It settles with the next update, for which it must not wait.
        chunks.return().catch(() => {})
      },
    },
    { highWaterMark: 0 },
  )
}

async function* chunksOf(
  updates: AsyncIterable<AnyUpdate>,
  options: UIMessageStreamOptions,
): AsyncGenerator<FlowUIMessageChunk, void> {
  const chunks = createFlowChunks(options)
  let failure: { readonly code: string; readonly message: string } | undefined
  try {
    for await (const update of updates) {
      yield* chunks.read(update)
      if (isWaitForSomebody(update) && (await options.endsAtWait?.())) break
    }
  } catch (thrown) {
    failure = isClientError(thrown) ? thrown : OrchestratorError.from(thrown)
  }
  yield* chunks.end(failure)
}

/** Errors of `polyphony/client` have a message for users too. */
const isClientError = (thrown: unknown): thrown is Error & { readonly code: string } =>
  thrown instanceof Error && thrown.name === 'PolyphonyError' && 'code' in thrown && typeof thrown.code === 'string'
