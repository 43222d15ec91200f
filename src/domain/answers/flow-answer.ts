import { toDerivedId } from '../derived-id.ts'
import type { StepResult } from '../execution/step-result.ts'
import type { Message } from '../users/thread.ts'

/** What is read of a result; in the process and as JSON it is the same. */
type AnsweringStep = Pick<StepResult, 'status' | 'output' | 'provider'> & { readonly finishReason?: string | undefined }

/** The steps that wrote the output of a flow. */
export interface AnswerWriters<Step extends AnsweringStep> {
  /** The step whose output is that of the flow; absent where several outputs were joined. */
  readonly final?: Step
  /** The steps whose outputs the output of the flow contains. */
  readonly parts: readonly Step[]
  /** Provider that wrote the text; several, joined by `+`, for a text that several steps wrote. */
  readonly provider: string
  readonly finishReason: NonNullable<Step['finishReason']> | 'stop'
}

/** Undefined when no step succeeded, so that the flow has no answer. */
export function toAnswerWriters<Step extends AnsweringStep>({
  finalOutput,
  steps,
}: {
  readonly finalOutput: string
  readonly steps: readonly Step[]
}): AnswerWriters<Step> | undefined {
  const successes = steps.filter(({ status }) => status === 'SUCCESS')
  if (successes.length === 0) return undefined
  const final = successes.findLast(({ output }) => output === finalOutput)
  const parts = final ? [final] : successes.filter(({ output }) => output && finalOutput.includes(output))
  const providers = final ? [final.provider] : [...new Set(successes.map(({ provider }) => provider))]
  return {
    ...(final && { final }),
    parts,
    provider: providers.join('+'),
    // A text of several steps counts as cut off when one of its parts was.
    finishReason: parts.map(({ finishReason }) => finishReason).find(isCut) ?? final?.finishReason ?? 'stop',
  }
}

const isCut = (reason: string | undefined): boolean => reason === 'length' || reason === 'content_filter'

/** What is stored of an answer in the thread of its flow. */
export interface StoredAnswer {
  readonly flowId: string
  readonly text: string
  /** Text with which a model refused to answer. */
  readonly refusal?: string
  readonly provider: string
  readonly simulated: boolean
}

/**
 * The message that adds an answer to the thread of its flow, so that the conversation can continue. Several processes
 * may add it at the same time: its id is derived from the flow, so the thread contains it once.
 */
export const toAnswerMessage = ({ flowId, text, refusal, provider, simulated }: StoredAnswer) => ({
  id: toDerivedId(`answer of flow ${flowId}`),
  role: 'assistant' as const,
  content: refusal ?? text,
  metadata: { orchestrationFlowId: flowId, provider, simulated } satisfies Message['metadata'],
})
