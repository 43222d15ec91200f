import { isBlank } from '../../domain/blank-text.ts'
import type { FlowStep } from '../../domain/definition/flow-definition.ts'
import { findRequestInstructions, hasCallerMetadata } from '../../domain/execution/request-instructions.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import { joinOrigins, PROMPT_ONLY, toOrigin } from '../../domain/users/origins.ts'
import type { Origin } from '../../domain/users/sharing.ts'
import type { Message } from '../../domain/users/thread.ts'
import { stepReferences } from '../../prompts/step-references.ts'
import type { FunctionReads } from '../steps/rendered-prompt.ts'
import { latestSuccesses, type Shared, type StepTask } from '../steps/step-inputs.ts'
import { originsThroughMessage } from './message-origins.ts'
import { originsThrough } from './result-origins.ts'

/** The parts of a request that decide what it was made from. */
export interface RequestParts {
  readonly shared: Shared
  readonly read?: FunctionReads
  /** The results that are the step's input. */
  readonly inputs: readonly StepResult[]
  /** Whether the inputs are appended to the prompt. */
  readonly addsInputs: boolean
  /** Whether the request has the user's prompt. */
  readonly sendsOriginal: boolean
}

/** Everything that the text of a request was made from. Outputs and messages that it does not have are left out. */
export function requestOrigins(task: StepTask, parts: RequestParts): readonly Origin[] {
  const { run, step } = task
  const { shared, sendsOriginal } = parts
  // The instructions of a request are its caller's own words for this request, as the prompt is.
  const hasPrompt = sendsOriginal || findRequestInstructions(run.options.metadata) !== undefined
  const lists: (readonly Origin[])[] = hasPrompt ? [PROMPT_ONLY] : []
  if (shared.attached.texts.length > 0 || shared.attached.files.length > 0) lists.push([toOrigin('attachment')])
  for (const message of shared.history) if (isSent(task, message)) lists.push(originsThroughMessage(message))
  for (const result of shared.outputs.keys()) if (isUsed(task, parts, result)) lists.push(originsThrough(run, result))
  const readsMetadata = parts.read?.metadata?.allowed || stepReferences(step).metadata
  if (readsMetadata && hasCallerMetadata(run.options.metadata)) lists.push([toOrigin('metadata')])
  return joinOrigins(lists)
}

function isUsed(task: StepTask, { inputs, addsInputs, read }: RequestParts, result: StepResult): boolean {
  const { step, options } = task
  const references = stepReferences(step)
  // Files of an input are sent even if the prompt does not mention its text.
  if ((addsInputs || references.input || result.files?.length) && inputs.includes(result)) return true
  if (references.allSteps || references.steps.includes(result.stepId) || read?.outputs.has(result)) return true
  return references.previous && latestSuccesses(options.visible).at(-1) === result
}

/** Blank messages are not sent, and system messages only where the context policy or the prompt asks for them. */
function isSent({ run, step }: StepTask, { role, content }: Message): boolean {
  if (isBlank(content)) return false
  if (role !== 'system' || run.definition.contextPolicy.preserveSystemPrompts) return true
  return stepReferences(step).history || isFunctionStep(step)
}

const isFunctionStep = ({ prompt, system }: FlowStep): boolean => typeof prompt === 'function' || typeof system === 'function'
