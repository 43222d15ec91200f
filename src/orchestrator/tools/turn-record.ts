import { untilCancelled } from '../../async/until-cancelled.ts'
import type { CallResponse } from '../../calls/call.ts'
import type { Target } from '../../domain/definition/flow-definition.ts'
import type { AssistantMessage, ModelMessage, ModelResponse, ToolMessage } from '../../domain/execution/model-call.ts'
import type { Attempt, StepResult } from '../../domain/execution/step-result.ts'
import {
  type IdentifiedCall,
  type ModelTurn,
  type RecordedTurn,
  type StartedCall,
  type StepTurn,
  type ToolResult,
  type TurnData,
  toRecordedTurns,
} from '../../domain/tools/turns.ts'
import type { Origin } from '../../domain/users/sharing.ts'
import { type ReadFile, toFilePart } from '../files/file-parts.ts'
import { recordKey } from '../flow-run.ts'
import type { StepTask } from '../steps/step-inputs.ts'
import { type StepOutcomeDraft, toResult } from '../steps/step-record.ts'

/** A turn while its calls are made. */
export interface OpenTurn extends RecordedTurn {
  readonly started: Map<number, StartedCall>
  readonly results: Map<number, ToolResult>
}

/** The turns of one step, those of earlier executions included. */
export interface TurnRecord {
  readonly turns: readonly OpenTurn[]
  /** Stores an answer that the conversation continues from. The step shows as running from then on. */
  addTurn(turn: ModelTurn, attempts: readonly Attempt[]): void
  /** Stores that a call is about to be made, with the failed attempts before. */
  addStarted(call: StartedCall, attempts: readonly Attempt[]): void
  addResult(result: ToolResult, attempts: readonly Attempt[]): void
  /** Resolves when everything that was added is durable. Rejects with the reason of a cancellation. */
  untilDurable(): Promise<void>
}

export interface TurnRecordOptions {
  readonly task: StepTask
  readonly sample: number
  readonly draft: StepOutcomeDraft
  readonly now: () => Date
}

/** Opens the record of a step, with the turns that earlier executions stored. */
export function openTurnRecord({ task, sample, draft, now }: TurnRecordOptions): TurnRecord {
  const { run, path, iteration, options } = task
  const stored = run.prior.turns.get(recordKey(path, iteration, sample)) ?? []
  const turns: OpenTurn[] = toRecordedTurns(stored).map((turn) => ({
    model: turn.model,
    started: new Map(turn.started),
    results: new Map(turn.results),
  }))
  let number = stored.at(-1)?.number ?? 0
  const numbers = stored.flatMap(({ data }) => (data.kind === 'call' ? data.attempt : []))
  draft.lastNumber = Math.max(draft.lastNumber ?? 0, ...numbers)

  const write = (data: TurnData, attempts: readonly Attempt[]) => {
    const row: StepTurn = { path, iteration, sample, number: ++number, data, attempts }
    run.log.record(isOpened ? [] : [running()], { turns: [row] })
    isOpened = true
  }
  // The ledger of a step is read with its result, so the first row comes with one. It also replaces the failure of an
  // earlier execution, from which this one has recovered.
  const running = (): StepResult => ({
    ...toResult(task, { ...draft, attempts: [], sharing: [] }, now(), sample),
    status: 'RUNNING',
  })
  let isOpened = false
  const turnOf = ({ turn }: { readonly turn: number }): OpenTurn | undefined => turns.find(({ model }) => model.turn === turn)

  return {
    turns,
    addTurn(turn, attempts) {
      turns.push({ model: turn, started: new Map(), results: new Map() })
      write(task.step.keepReasoning ? turn : { ...turn, reasoningText: undefined }, attempts)
    },
    addStarted(call, attempts) {
      turnOf(call)?.started.set(call.index, call)
      write(call, attempts)
    },
    addResult(result, attempts) {
      turnOf(result)?.results.set(result.index, result)
      write(result, attempts)
    },
    async untilDurable() {
      if (run.log.durable) await untilCancelled(run.log.durable, [run.cancellation, options.cancellation])
      if (run.cancellation.cancelled) throw run.cancellation.reason
    },
  }
}

/** An answer as it is recorded. */
export const toModelTurn = (
  turn: number,
  answer: CallResponse,
  toolCalls: readonly IdentifiedCall[],
  origins: readonly Origin[],
): ModelTurn => ({
  kind: 'turn',
  turn,
  provider: answer.provider,
  requestedModel: answer.requestedModel,
  model: answer.model,
  text: answer.text,
  toolCalls,
  origins,
  finishReason: answer.finishReason,
  usage: answer.usage,
  notes: answer.notes,
  ...(answer.reasoningText !== undefined && { reasoningText: answer.reasoningText }),
  ...(answer.vendorTurn && { vendorTurn: answer.vendorTurn }),
  ...(answer.sources && { sources: answer.sources }),
  ...(answer.isPaused && { isPaused: true }),
})

/** Gives an id to calls of vendors that send none, and to the later ones of calls with the same id. */
export function identified(turn: number, { toolCalls = [] }: CallResponse): readonly IdentifiedCall[] {
  const sent = new Set(toolCalls.map(({ id }) => id))
  const seen = new Set<string>()
  return toolCalls.map((call, position) => {
    const isFree = call.id !== undefined && call.id !== '' && !seen.has(call.id)
    let id = isFree && call.id !== undefined ? call.id : `call_${turn}_${position + 1}`
    while (!isFree && sent.has(id)) id = `${id}_`
    seen.add(id)
    return { id, name: call.name, arguments: call.arguments }
  })
}

const isBy = (turn: ModelTurn, { provider, model }: Target): boolean =>
  turn.provider === provider && turn.requestedModel === model

/** The turns that a model continues: an answer that was paused without calls, only the model that wrote it. */
export const continuedBy = <Turn extends RecordedTurn>(turns: readonly Turn[], target: Target): readonly Turn[] =>
  turns.filter(({ model }) => model.toolCalls.length > 0 || isBy(model, target))

/** The messages of turns after the prompt of the step, as the model that continues them may receive them. */
export function toTurnMessages(turns: readonly RecordedTurn[], target: Target, readFile: ReadFile): readonly ModelMessage[] {
  return turns.flatMap(({ model: turn, results }): readonly ModelMessage[] => {
    const assistant: AssistantMessage = {
      role: 'assistant',
      content: turn.text,
      ...(turn.toolCalls.length > 0 && { toolCalls: turn.toolCalls }),
      ...(isBy(turn, target) && turn.vendorTurn && { vendorTurn: turn.vendorTurn }),
    }
    const answers = turn.toolCalls.flatMap((call, position): readonly ToolMessage[] => {
      const result = results.get(position + 1)
      if (!result) return []
      const { content, isError } = result
      const files = (result.files ?? []).flatMap((file) => toFilePart(file, readFile) ?? [])
      const message = { role: 'tool', toolCallId: call.id, toolName: call.name, content } as const
      return [{ ...message, ...(isError && { isError }), ...(files.length > 0 && { files }) }]
    })
    return [assistant, ...answers]
  })
}

/**
 * The last answer with the sources, reasoning and notes of the turns that it continues. Text beside calls is no part of
 * it.
 */
export function withTurns(answer: CallResponse, recorded: readonly RecordedTurn[]): CallResponse {
  const turns = continuedBy(recorded, { provider: answer.provider, model: answer.requestedModel })
  if (turns.length === 0) return answer
  const all: readonly Pick<ModelResponse, 'reasoningText' | 'sources' | 'notes'>[] = [...turns.map(({ model }) => model), answer]
  const reasoning = all.flatMap(({ reasoningText }) => reasoningText ?? [])
  const sources = all.flatMap((turn) => turn.sources ?? [])
  // A paused answer is one text in several parts.
  const paused = turns.slice(turns.findLastIndex(({ model }) => !model.isPaused) + 1).map(({ model }) => model.text)
  return {
    ...answer,
    text: [...paused, answer.text].join(''),
    reasoningText: reasoning.length > 0 ? reasoning.join('\n\n') : undefined,
    sources: sources.length > 0 ? sources : undefined,
    notes: [...new Set(all.flatMap(({ notes }) => notes))],
  }
}
