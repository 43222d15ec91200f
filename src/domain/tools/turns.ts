import type { CallIntent } from '../execution/call-intent.ts'
import type { ModelResponse, ToolCall } from '../execution/model-call.ts'
import { type Attempt, isSameResult, type StepKey } from '../execution/step-result.ts'
import type { Origin, SharingDecision } from '../users/sharing.ts'
import type { Attachment } from '../users/thread.ts'
import type { ToolCallRecord } from './tool-call-record.ts'

/**
 * What a step that calls tools does is recorded in rows that are only ever appended: one per answer of the model that
 * the conversation continues from, one before each call of a tool, and one with its result. After a crash the
 * conversation is rebuilt from them.
 */
export interface StepTurn extends StepKey {
  /** From 1, in the order in which the rows of the step were written, over all executions of the flow. */
  readonly number: number
  readonly data: TurnData
  /** Attempts of the ledger that are stored together with the row. They are read with the result of the step. */
  readonly attempts: readonly Attempt[]
}

/** Whether the outcome of a call is stored with a row, because the row has its attempt. */
export const settles = (row: Pick<StepTurn, keyof StepKey | 'attempts'>, intent: CallIntent): boolean =>
  row.attempts.some(({ number }) => number === intent.number) && isSameResult(row, intent)

/** All rows of one step in one iteration, those of its samples included. */
export type TurnsOfStep = Pick<StepKey, 'path' | 'iteration'>

/** Whether a row belongs to a step. */
export const isTurnOf = (row: TurnsOfStep, { path, iteration }: TurnsOfStep): boolean =>
  row.path === path && row.iteration === iteration

/** A row without the blocks of the vendor, which only a further turn would need. */
export const withoutBlocks = (row: StepTurn): StepTurn =>
  row.data.kind === 'turn' && row.data.vendorTurn ? { ...row, data: { ...row.data, vendorTurn: undefined } } : row

export type TurnData = ModelTurn | StartedCall | ToolResult

/** An answer of the model after which the step continues: it calls tools, or the vendor has paused it. */
export interface ModelTurn
  extends Pick<
    ModelResponse,
    'text' | 'reasoningText' | 'vendorTurn' | 'sources' | 'finishReason' | 'model' | 'usage' | 'notes' | 'isPaused'
  > {
  readonly kind: 'turn'
  /** From 1. */
  readonly turn: number
  /** Id of the provider that answered. */
  readonly provider: string
  readonly requestedModel: string
  /** What the text and the arguments were made from, joined over all hops. */
  readonly origins: readonly Origin[]
  /** Empty if the vendor has paused the answer. */
  readonly toolCalls: readonly IdentifiedCall[]
}

/** A tool call with an id, which Polyphony gives where the vendor sends none. */
export interface IdentifiedCall extends ToolCall {
  readonly id: string
}

/** A call of a tool that is about to be made. Without a result after it, its outcome is unknown. */
export interface StartedCall {
  readonly kind: 'call'
  readonly turn: number
  /** Position among the calls of the turn, from 1. */
  readonly index: number
  /** Number of its attempt in the ledger. */
  readonly attempt: number
  readonly provider: string
  readonly operation: string
  /** The arguments as they are sent: of the model, or as a user edited them. */
  readonly arguments: Readonly<Record<string, unknown>>
  readonly approvedBy?: string
  /** ISO 8601. */
  readonly startedAt: string
  /** US dollars, as far as they are known before the call. */
  readonly cost?: number
  readonly simulated: boolean
}

/** What the model is answered about one of its calls. */
export interface ToolResult {
  readonly kind: 'result'
  readonly turn: number
  readonly index: number
  /** `<provider>/<operation>`, or the name that the model wrote for a tool that does not exist. */
  readonly tool: string
  /** The provider that answered; absent if the tool was not called. */
  readonly provider?: string
  readonly arguments?: unknown
  /** What the content was made from beside the tool and its arguments; absent if it was nothing else. */
  readonly origins?: readonly Origin[]
  readonly content: string
  readonly isError: boolean
  /** Whether the model called a tool that does not exist, or with arguments that do not fit. */
  readonly isInvalid?: boolean
  /** Milliseconds; 0 if the tool was not called. */
  readonly executionTime: number
  /** Why the content is incomplete. */
  readonly cut?: string
  /** Stored files of the result that the model receives with the content. */
  readonly files?: readonly Attachment[]
  /** Stored files that it does not receive, because of `maxResultTokens`. */
  readonly hiddenFiles?: readonly Attachment[]
  readonly approvedBy?: string
  /** Decisions whether the arguments may go to the tool, and its result to the model. */
  readonly sharing: readonly SharingDecision[]
}

/** One turn with the results of its calls, by the position of the call. */
export interface RecordedTurn {
  readonly model: ModelTurn
  readonly started: ReadonlyMap<number, StartedCall>
  readonly results: ReadonlyMap<number, ToolResult>
}

/** Characters of an output in updates and results of steps. The model receives the whole one. */
const SHORT_OUTPUT_LENGTH = 2_000

export const shortOutput = (content: string): string =>
  content.length <= SHORT_OUTPUT_LENGTH ? content : `${wholeCharacters(content.slice(0, SHORT_OUTPUT_LENGTH))} …`

/** Without the first half of a surrogate pair at the end. */
export const wholeCharacters = (text: string): string => text.replace(/[\uD800-\uDBFF]$/, '')

/** The turns of one step, rebuilt from its rows in the order of their numbers. */
export function toRecordedTurns(rows: readonly Pick<StepTurn, 'data'>[]): readonly RecordedTurn[] {
  const turns = new Map<number, { model: ModelTurn; started: Map<number, StartedCall>; results: Map<number, ToolResult> }>()
  for (const { data } of rows) {
    if (data.kind === 'turn') turns.set(data.turn, { model: data, started: new Map(), results: new Map() })
    // A call that is made again replaces the one whose outcome is unknown.
    else if (data.kind === 'call') turns.get(data.turn)?.started.set(data.index, data)
    else turns.get(data.turn)?.results.set(data.index, data)
  }
  return [...turns.values()]
}

/** Calls that were started and have no result. */
export const openCalls = (turns: readonly RecordedTurn[]): readonly StartedCall[] =>
  turns.flatMap(({ started, results }) => [...started.values()].filter(({ index }) => !results.has(index)))

/** All results, in the order in which the model made their calls: that in which calls end depends on timing. */
export const resultsInOrder = (turns: readonly RecordedTurn[]): readonly ToolResult[] =>
  turns.flatMap(({ model, results }) => model.toolCalls.flatMap((_, position) => results.get(position + 1) ?? []))

/** All calls with a result, in the order in which the model made them. */
export const toCallRecords = (turns: readonly RecordedTurn[]): readonly ToolCallRecord[] =>
  resultsInOrder(turns).map(toCallRecord)

const toCallRecord = ({
  turn,
  tool,
  arguments: given,
  content,
  isError,
  executionTime,
  files = [],
  hiddenFiles = [],
  approvedBy,
}: ToolResult): ToolCallRecord => ({
  turn,
  tool,
  ...(given !== undefined && { arguments: given }),
  output: shortOutput(content),
  isError,
  executionTime,
  ...(files.length + hiddenFiles.length > 0 && { files: [...files, ...hiddenFiles] }),
  ...(approvedBy !== undefined && { approvedBy }),
})
