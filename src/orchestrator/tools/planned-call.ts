import type { IdentifiedCall, RecordedTurn } from '../../domain/tools/turns.ts'
import { readArguments } from './tool-arguments.ts'
import type { StepTool, ToolSet } from './tool-set.ts'

/** One call of a model, with what Polyphony makes of it. */
export interface PlannedCall {
  readonly call: IdentifiedCall
  readonly turn: number
  /** Position among the calls of the turn, from 1. */
  readonly index: number
  readonly tool?: StepTool
  readonly given?: unknown
  /** What the model is answered in place of a result, where the call cannot be made. */
  readonly refusal?: string
}

/** What becomes of a call of a turn, by its position from 0. The same in every execution. */
export function planCall({ tools, definitions }: ToolSet, { model }: RecordedTurn, position: number): PlannedCall {
  const call = model.toolCalls[position] ?? { id: '', name: '', arguments: '' }
  const address = { call, turn: model.turn, index: position + 1 }
  const tool = tools.get(call.name)
  if (!tool) {
    const message = `There is no tool "${call.name}". Call one of these tools, or answer without a tool.`
    return { ...address, given: call.arguments, refusal: invalidOutput(message, { tools: definitions }) }
  }
  const read = readArguments(call.arguments, tool.operation, model.finishReason === 'length')
  if (!('problem' in read)) return { ...address, tool, given: read.given }
  const message = `The arguments of "${call.name}" do not fit its schema: ${read.problem}. Call it again with arguments that fit.`
  return { ...address, tool, given: read.given, refusal: invalidOutput(message, { schema: tool.operation.input }) }
}

/** The answer to a call that cannot be made. */
export const invalidOutput = (message: string, known: object): string =>
  JSON.stringify({ error: { code: 'TOOL_CALL_INVALID', message }, ...known })

/** Whether a turn calls a tool that does not exist, or with arguments that do not fit. */
export const hasInvalidCall = (set: ToolSet, turn: RecordedTurn): boolean =>
  turn.model.toolCalls.some((_, position) => planCall(set, turn, position).refusal !== undefined)
