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
  /** Those of the message and those of the option. They are stored with the flow. */
  readonly attachments: readonly Attachment[]
}

export interface InputRequest {
  readonly flow: StoredFlow
  readonly definition: FlowDefinition
  readonly given?: string
  /** Attachments of the option. Default: those of an earlier execution with the same prompt. */
  readonly attachments?: readonly Attachment[]
}

/**
 * The prompt of an execution: from the option, else an earlier execution, else the definition, else the thread's newest
 * user message. Throws FLOW_INPUT_MISSING if it is missing or blank.
 */
export async function resolveInput(
  { flow, definition, given, attachments }: InputRequest,
  newestUserMessage: (threadId: string) => Promise<Message | undefined>,
): Promise<RunInput> {
  const text = given ?? flow.input ?? definition.input
  const source =
    given !== undefined ? 'options.input' : flow.input !== undefined ? 'the input of the flow' : 'the input in the definition'
  if (text !== undefined && text !== flow.input) return notBlank({ text, attachments: attachments ?? [] }, source, flow)
  const message = await newestUserMessage(flow.threadId)
  if (text !== undefined) {
    // The message stays out of the history of the flow, whose prompt it is.
    const own = message?.content === text ? message : undefined
    const input = { text, messageId: own?.id, attachments: attachments ?? storedAttachments(flow, own) }
    return notBlank(input, source, flow)
  }
  if (message) {
    const all = [...(message.attachments ?? []), ...(attachments ?? [])]
    const input = { text: message.content, messageId: message.id, attachments: all }
    return notBlank(input, 'the newest user message of the thread', flow)
  }
  const expected = 'Expected options.input, an input in the definition or a user message in the thread; found none'
  throw inputMissing(expected, flow)
}

/** Earlier versions stored the id of the message instead of its attachments. */
export const storedAttachments = (
  { attachments, runOptions }: Pick<StoredFlow, 'attachments' | 'runOptions'>,
  message: Message | undefined,
): readonly Attachment[] => attachments ?? (message?.id === runOptions?.inputMessageId ? message?.attachments : undefined) ?? []

/** The attachments that the start of an execution stores; an empty list replaces those of an earlier one. */
export const attachmentsToStore = (
  { attachments: stored }: Pick<StoredFlow, 'attachments'>,
  { attachments }: RunInput,
): readonly Attachment[] | undefined => (attachments.length > 0 || stored ? attachments : undefined)

/** A message may have its content in an attachment only. */
function notBlank(input: RunInput, source: string, flow: StoredFlow): RunInput {
  const hasText =
    !isBlank(input.text) || input.attachments.some(({ text = '', file, vendorFile }) => file || vendorFile || !isBlank(text))
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
 * Refuses to resume with recorded results of another prompt, of other attachments, or of other metadata that prompts
 * read: the output would mix answers to two different requests. A flow without recorded results accepts a new prompt.
 * Throws INPUT_INVALID.
 */
export async function assertSameRun(
  { flow, definition, input, options }: StartRequest,
  readResults: (flowId: string) => Promise<readonly StepResult[]>,
): Promise<void> {
  const otherInput = flow.input !== undefined && flow.input !== input.text
  const otherFiles =
    flow.input !== undefined && !isSameJson(contentsOf(storedAttachments(flow, undefined)), contentsOf(input.attachments))
  const otherMetadata = flow.input !== undefined && !isSameJson(flow.metadata ?? {}, options.metadata)
  if (!otherInput && !otherFiles && !otherMetadata) return
  const recorded = new Set((await readResults(flow.id)).flatMap(({ status, stepId }) => (status === 'SUCCESS' ? [stepId] : [])))
  const readMetadata = definition.steps.some((step) => recorded.has(step.id) && readsMetadata(step))
  if (recorded.size === 0 || (!otherInput && !otherFiles && !readMetadata)) return
  const steps = [...recorded].map((id) => `"${id}"`).join(', ')
  const option = otherInput ? 'input' : otherFiles ? 'attachments' : 'metadata'
  throw new OrchestratorError(
    'INPUT_INVALID',
    `options.${option}: expected the ${option} that the flow was started with, because results of ${steps} are recorded for it; found a different one. To resume, leave it out; to run with another ${option}, use rerunFlow or create a new flow`,
    { details: { flowId: flow.id, option, recordedSteps: [...recorded] } },
  )
}

/**
 * Attachments without the ids of their files: the same bytes may have been added again. Earlier versions stored the
 * text of a file beside its hash.
 */
const contentsOf = (attachments: readonly Attachment[] = []) =>
  attachments.map(({ name, mediaType, text, file, vendorFile }) => [
    name,
    mediaType,
    file ? undefined : text,
    file?.sha256,
    vendorFile,
  ])

const readsMetadata = ({ prompt, system, condition, approval, correlation }: FlowStep): boolean =>
  [prompt, system, condition, approval?.prompt, approval?.show, correlation].some(
    (source) => typeof source === 'string' && source.includes('metadata'),
  )
