import { isBlank } from '../../domain/blank-text.ts'
import type { FlowDefinition, FlowStep } from '../../domain/definition/flow-definition.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import { isSameJson } from '../../domain/json-equality.ts'
import type { Attachment, Message } from '../../domain/users/thread.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { StoredFlow } from '../../repositories/repository.ts'
import type { RunOptions } from '../flow-run.ts'

/** The prompt of an execution, with the message and the attachments that it came from. */
export interface RunInput {
  readonly text: string
  readonly messageId?: string
  readonly attachments: readonly Attachment[]
}

/**
 * The prompt of an execution: from the option, else an earlier execution, else the definition, else the thread's newest
 * user message. Throws FLOW_INPUT_MISSING if it is missing or blank.
 */
export async function resolveInput(
  { flow, definition, given }: { readonly flow: StoredFlow; readonly definition: FlowDefinition; readonly given?: string },
  newestUserMessage: (threadId: string) => Promise<Message | undefined>,
): Promise<RunInput> {
  const text = given ?? flow.input ?? definition.input
  const source =
    given !== undefined ? 'options.input' : flow.input !== undefined ? 'the input of the flow' : 'the input in the definition'
  if (text !== undefined && text !== flow.input) return notBlank({ text, attachments: [] }, source, flow)
  const message = await newestUserMessage(flow.threadId)
  // An earlier execution may have taken its prompt from this message, whose attachments belong to it.
  if (text !== undefined && message?.content !== text) return notBlank({ text, attachments: [] }, source, flow)
  if (message) {
    const input = { text: message.content, messageId: message.id, attachments: message.attachments ?? [] }
    return notBlank(input, 'the newest user message of the thread', flow)
  }
  const expected = 'Expected options.input, an input in the definition or a user message in the thread; found none'
  throw inputMissing(expected, flow)
}

/** A message may have its text in an attachment only. */
function notBlank(input: RunInput, source: string, flow: StoredFlow): RunInput {
  const hasText = !isBlank(input.text) || input.attachments.some(({ text = '' }) => !isBlank(text))
  if (hasText) return input
  throw inputMissing(`Expected text in ${source}, found only blank characters (${input.text.length} characters)`, flow)
}

const inputMissing = (message: string, { id, threadId }: StoredFlow): OrchestratorError =>
  new OrchestratorError('FLOW_INPUT_MISSING', message, { details: { flowId: id, threadId } })

/** A checked request for one execution of a flow. */
export interface StartRequest {
  readonly flow: StoredFlow
  readonly definition: FlowDefinition
  readonly input: RunInput
  readonly options: RunOptions
}

/**
 * Refuses to resume with recorded results of another prompt, or of other metadata that prompts read: the output would
 * mix answers to two different requests. A flow without recorded results accepts a new prompt. Throws INPUT_INVALID.
 */
export async function assertSameRun(
  { flow, definition, input, options }: StartRequest,
  readResults: (flowId: string) => Promise<readonly StepResult[]>,
): Promise<void> {
  const otherInput = flow.input !== undefined && flow.input !== input.text
  const otherMetadata = flow.input !== undefined && !isSameJson(flow.metadata ?? {}, options.metadata)
  if (!otherInput && !otherMetadata) return
  const recorded = new Set((await readResults(flow.id)).flatMap(({ status, stepId }) => (status === 'SUCCESS' ? [stepId] : [])))
  const readMetadata = definition.steps.some((step) => recorded.has(step.id) && readsMetadata(step))
  if (recorded.size === 0 || (!otherInput && !readMetadata)) return
  const steps = [...recorded].map((id) => `"${id}"`).join(', ')
  const option = otherInput ? 'input' : 'metadata'
  throw new OrchestratorError(
    'INPUT_INVALID',
    `options.${option}: expected the ${option} that the flow was started with, because results of ${steps} are recorded for it; found a different one. To resume, leave it out; to run with another ${option}, use rerunFlow or create a new flow`,
    { details: { flowId: flow.id, option, recordedSteps: [...recorded] } },
  )
}

const readsMetadata = ({ prompt, system, condition, approval, correlation }: FlowStep): boolean =>
  [prompt, system, condition, approval?.prompt, approval?.show, correlation].some(
    (source) => typeof source === 'string' && source.includes('metadata'),
  )
