import { type AnswerStep, createAnswerText } from '../domain/answers/answer-text.ts'
import { toAnswerWriters } from '../domain/answers/flow-answer.ts'
import type { FlowUpdate } from '../domain/execution/flow-update.ts'
import { needsSomebody } from '../domain/waiting/waiting-steps.ts'
import type { WireUpdate } from '../protocol/update.ts'
import { toEndMetadata, toFileChunks, toSourceChunks, toUIFinishReason } from './answer-parts.ts'
import { createOpenParts } from './open-parts.ts'
import { toEndedStep, toErrorText, toWaits } from './states.ts'
import { createToolChunks } from './tool-chunks.ts'
import type { FlowState, FlowUIMessageChunk, StepRunState } from './ui-message.ts'

/** An update as the orchestrator streams it, or as JSON of a server. */
export type AnyUpdate = FlowUpdate | WireUpdate
type Chunks = readonly FlowUIMessageChunk[]
type Of<Type extends AnyUpdate['type']> = Extract<AnyUpdate, { type: Type }>

type AnyStep = Of<'flow_complete'>['data']['steps'][number]

export interface FlowChunkOptions {
  /**
   * Runs of steps whose text is the answer while it is written: `orchestrator.answerSteps(flow.definition)`. Default:
   * none, so that the text comes whole when the flow ends.
   */
  readonly answerSteps?: readonly AnswerStep[]
  /** Id of the message. Default: the id of the flow, so that a repeated stream replaces the message. */
  readonly messageId?: string
  /**
   * What becomes of the text of steps that is not the answer: `data` (default) has it in the step's `data-step` when
   * the step has ended, `reasoning` streams it as reasoning, `none` leaves it out.
   */
  readonly otherText?: 'data' | 'reasoning' | 'none'
  /** Whether the reasoning of models is sent. Default: true. */
  readonly sendReasoning?: boolean
  /** Whether the sources of the answer are sent. Default: true. */
  readonly sendSources?: boolean
  /** Address of a file that a model made. Default: none, so that the file is a `data-file` part with its id. */
  readonly fileUrl?: (file: { readonly id: string; readonly name: string; readonly mediaType: string }) => string | undefined
  /** Words of an error for the user. Default: the message of the error, except for errors that are bugs. */
  readonly onError?: (error: { readonly code: string; readonly message: string }) => string
}

export interface FlowChunks {
  /** The chunks of one update. */
  read(update: AnyUpdate): Chunks
  /** The chunks after the last update. `failure`: why the updates broke off, where they did. */
  end(failure?: { readonly code: string; readonly message: string }): Chunks
}

const ANSWER = 'answer'
/** Beginning of the keys of the parts of all runs. */
const RUN = 'run:'
const ENDED_EARLY = { code: 'FLOW_INTERRUPTED', message: 'The stream of updates ended before the flow' }

/** Translates the updates of one flow, from its first one on, into the chunks of one message. */
export function createFlowChunks(options: FlowChunkOptions = {}): FlowChunks {
  const { answerSteps = [], otherText = 'data', sendReasoning = true, sendSources = true, fileUrl } = options
  const errorText = options.onError ?? toErrorText
  const parts = createOpenParts()
  /** Runs that have begun and not ended, by their keys. */
  const runs = new Map<string, StepRunState>()
  const tools = createToolChunks()
  let answer = createAnswerText(answerSteps)
  let flow: FlowState | undefined
  let isStepOpen = false
  let outcome: Of<'flow_complete' | 'flow_cancelled' | 'error' | 'flow_paused'> | undefined

  const flowChunk = (changes: Partial<FlowState>): Chunks => {
    if (!flow) return []
    flow = { ...flow, ...changes }
    return [{ type: 'data-flow', id: flow.flowId, data: flow }]
  }
  const stepChunk = (key: string, data: StepRunState): FlowUIMessageChunk => ({ type: 'data-step', id: key, data })
  const finishStep = (): Chunks => {
    if (!isStepOpen) return []
    isStepOpen = false
    return [...parts.endAll(), { type: 'finish-step' }]
  }
  /** Steps of the AI SDK are one after the other and end all open parts, so those that run together share one. */
  const startStep = (): Chunks => {
    if (isStepOpen && (runs.size > 0 || parts.has(ANSWER))) return []
    const before = finishStep()
    isStepOpen = true
    return [...before, { type: 'start-step' }]
  }

  function startFlow({ flowId, data }: Of<'flow_start'>): Chunks {
    const isFirst = flow === undefined
    const { name, flowType, totalSteps, simulated } = data
    flow = { flowId, name, flowType, totalSteps, simulated, status: 'RUNNING' }
    outcome = undefined
    runs.clear()
    const start: Chunks = isFirst
      ? [{ type: 'start', messageId: options.messageId ?? flowId, messageMetadata: { flowId, simulated } }]
      : parts.endAll(RUN, true)
    return [...start, ...flowChunk({})]
  }
  function startRun(update: Of<'step_start'>): Chunks {
    const { stepId = '', path = stepId, iteration = 1, data } = update
    const key = runOf(update)
    const before = [...resumed(), ...parts.endAll(partOf(key), true), ...startStep()]
    const { provider, model, action } = data
    const state: StepRunState = { stepId, path, iteration, status: 'RUNNING', provider, model, action }
    runs.set(key, state)
    return [...before, stepChunk(key, state)]
  }
  function grow(update: Of<'step_progress'>): Chunks {
    const { data, seq } = update
    const part = `${partOf(runOf(update))}${data.sample ?? 0}`
    if (data.kind === 'reasoning') return sendReasoning ? parts.add(part, 'reasoning', data.delta, seq) : []
    const text = answer.chunkOf(update)
    if (text !== undefined) return parts.add(ANSWER, 'text', text, seq)
    return otherText === 'reasoning' ? parts.add(part, 'reasoning', data.delta, seq) : []
  }
  function retry(update: Of<'step_retry'>): Chunks {
    const key = runOf(update)
    const { attempt, error, restart } = update.data
    const state = runs.get(key)
    const voided = restart ? parts.endAll(partOf(key), true) : []
    if (!state) return voided
    return [...voided, stepChunk(key, { ...state, retry: { attempt, code: error.code, message: errorText(error) } })]
  }
  function skip(update: Of<'step_skipped'>): Chunks {
    const { stepId = '', path = stepId, iteration = 1, data } = update
    return [stepChunk(runOf(update), { stepId, path, iteration, status: 'SKIPPED', reason: data.reason })]
  }
  function endRun(update: Of<'step_complete'>): Chunks {
    const { data } = update
    // The results of samples come with that of their step.
    if (data.sample !== 0) return []
    const key = runOf(update)
    runs.delete(key)
    const isAnswer = answerSteps.some(({ stepId, iteration }) => stepId === data.path && iteration === data.iteration)
    const state = toEndedStep(data, { withOutput: otherText === 'data' && !isAnswer, errorText })
    return [...parts.endAll(partOf(key)), stepChunk(key, state)]
  }
  function pause(update: Of<'flow_paused'>): Chunks {
    outcome = update
    return flowChunk({ status: 'PAUSED', waits: toWaits(update.data.waits) })
  }
  /** A flow continues by itself after a pause, without another start. */
  function resumed(): Chunks {
    if (flow?.status !== 'PAUSED') return []
    outcome = undefined
    return flowChunk({ status: 'RUNNING', waits: undefined })
  }
  /** The rest of the answer; the whole answer, if the text so far turns out not to be its beginning and is void. */
  function endText(finalOutput: string, seq: number): Chunks {
    const isBeginning = answer.isBeginningOf(finalOutput)
    const before = isBeginning ? [] : parts.discard(ANSWER)
    const rest = isBeginning ? answer.restOf(finalOutput) : finalOutput
    return [...before, ...parts.add(ANSWER, 'text', rest, seq), ...parts.end(ANSWER)]
  }

  function complete({ data, seq }: Of<'flow_complete'>): Chunks {
    const writers = toAnswerWriters<AnyStep>(data)
    const { final, parts: steps = [] } = writers ?? {}
    const value: Chunks =
      final?.parsed === undefined
        ? []
        : [{ type: 'data-answer', id: data.flowId, data: { stepId: final.stepId, value: final.parsed } }]
    return [
      ...(isStepOpen ? [] : startStep()),
      ...endText(data.finalOutput, seq),
      ...value,
      ...(sendSources ? toSourceChunks(steps) : []),
      ...toFileChunks(steps, fileUrl),
      ...flowChunk({ status: 'COMPLETED' }),
      ...finishStep(),
      {
        type: 'finish',
        finishReason: toUIFinishReason(writers?.finishReason),
        messageMetadata: { ...toEndMetadata(data.flowId, data.steps), status: 'COMPLETED' },
      },
    ]
  }
  function fail(error: { readonly code: string; readonly message: string }): Chunks {
    // What a message shows of a failed flow is kept, and the error comes last, because nothing after it is read.
    return [...flowChunk({ status: 'FAILED' }), ...finishStep(), { type: 'error', errorText: errorText(error) }]
  }

  function readUpdate(update: AnyUpdate): Chunks {
    if (update.type === 'flow_start') return startFlow(update)
    if (update.type === 'step_start') return startRun(update)
    if (update.type === 'step_progress') return grow(update)
    if (update.type === 'step_retry') return retry(update)
    if (update.type === 'tool_call') return [...resumed(), ...tools.call(runOf(update), update.data)]
    if (update.type === 'tool_result') return tools.result(runOf(update), update.data)
    if (update.type === 'step_skipped') return skip(update)
    if (update.type === 'step_complete') return endRun(update)
    if (update.type === 'flow_paused') return pause(update)
    // The last end counts, because an ended flow may run again.
    if (update.type === 'flow_complete' || update.type === 'flow_cancelled' || update.type === 'error') outcome = update
    return []
  }

  return {
    read(update) {
      const voided = answer.isVoidedBy(update) ? parts.discard(ANSWER) : []
      if (voided.length > 0) answer = createAnswerText(answerSteps)
      return [...voided, ...readUpdate(update)]
    },
    end(failure) {
      if (failure) return fail(failure)
      if (outcome?.type === 'flow_complete') return complete(outcome)
      if (outcome?.type === 'error') return fail(outcome.data)
      if (outcome?.type === 'flow_cancelled') {
        return [...flowChunk({ status: 'CANCELLED' }), ...finishStep(), { type: 'abort', reason: outcome.data.reason }]
      }
      if (outcome === undefined) return fail(ENDED_EARLY)
      const { flowId } = outcome
      return [...finishStep(), { type: 'finish', finishReason: 'other', messageMetadata: { flowId, status: 'PAUSED' } }]
    },
  }
}

/** Whether the flow waits for a decision or an event, which may take days. */
export const isWaitForSomebody = (update: AnyUpdate): boolean =>
  update.type === 'flow_paused' && update.data.waits.some(needsSomebody)

const runOf = ({ stepId, path = stepId, iteration = 1 }: AnyUpdate): string => `${path}#${iteration}`
/** Beginning of the keys of the parts of one run. */
const partOf = (run: string): string => `${RUN}${run}.`
