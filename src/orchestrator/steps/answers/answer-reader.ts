import * as z from 'zod'
import type { CallResponse } from '../../../calls/call.ts'
import { toOutputJsonSchema } from '../../../domain/answers/output-schema.ts'
import { readStructured } from '../../../domain/answers/structured-output.ts'
import { readVerdict, VERDICT_JSON_SCHEMA, verdictInstruction } from '../../../domain/answers/verdict.ts'
import type { FlowStep } from '../../../domain/definition/flow-definition.ts'
import type { JsonSchema } from '../../../domain/execution/model-call.ts'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import type { RunStepOptions } from '../../../executors/executor.ts'

/** Makes one more call after an answer that could not be read. `undefined` if no repair is possible. */
export type Repair = (text: string, problem: string) => Promise<CallResponse> | undefined

export interface Reading {
  readonly value?: unknown
  readonly notes: readonly string[]
}

/** Reads a value from the answer of a step. */
export interface StepAnswerReader {
  /** The schema and instruction to add to the request; absent if nothing is requested. */
  readonly request?: { readonly schema: JsonSchema; readonly instruction: string }
  /**
   * Reads the value, after one repair call where necessary. Rejects with OUTPUT_INVALID or CONTENT_FILTERED where the
   * step needs a value and the answer has none. An answer that was cut is not repaired, because the same limit or
   * filter would cut it again.
   */
  read(response: CallResponse, repair: Repair): Promise<Reading>
}

/** The reader for a step; `undefined` if its answer is plain text. */
export function answerReader(step: FlowStep, verdict: RunStepOptions['verdict']): StepAnswerReader | undefined {
  if (step.outputSchema instanceof z.ZodType) return schemaReader(step, step.outputSchema, verdict !== undefined)
  if (verdict === 'ask') return askedVerdict
  return verdict === 'read' ? offeredVerdict : undefined
}

const askedVerdict: StepAnswerReader = {
  request: { schema: VERDICT_JSON_SCHEMA, instruction: verdictInstruction() },
  async read(answer, repair) {
    const first = verdictIn(answer)
    if ('verdict' in first) return { value: first.verdict, notes: howNote(first.how) }
    const secondReading = isCut(answer) ? undefined : await repaired(repair, answer, first.problem)
    const second = secondReading && verdictIn(secondReading)
    if (second && 'verdict' in second) return { value: second.verdict, notes: ['verdict read after one repair call'] }
    return { notes: [noVerdict(secondReading ?? answer, second?.problem ?? first.problem)] }
  },
}

const offeredVerdict: StepAnswerReader = {
  async read(answer) {
    const found = verdictIn(answer)
    return { value: 'verdict' in found ? found.verdict : undefined, notes: [] }
  },
}

const verdictIn = (answer: CallResponse) => readVerdict(answer.text, { cut: isCut(answer) })

/** Whether the answer certainly lacks its end. One that ended for an unknown reason may be complete. */
const isCut = ({ cut, finishReason }: CallResponse): boolean => cut !== undefined && finishReason !== 'other'

const noVerdict = ({ cut }: CallResponse, problem: string): string => `no verdict: ${cut ?? problem}`

function schemaReader(step: FlowStep, schema: z.ZodType, steers: boolean): StepAnswerReader {
  const json = toOutputJsonSchema(schema)
  const read = (answer: CallResponse) => readStructured(answer.text, schema, { cut: isCut(answer), mustBeUnique: steers })
  return {
    request: { schema: json, instruction: `Answer with JSON alone that fits this JSON Schema:\n${JSON.stringify(json)}` },
    async read(answer, repair) {
      const first = read(answer)
      if ('value' in first) return { value: first.value, notes: howNote(first.how) }
      const secondReading = isCut(answer) ? undefined : await repaired(repair, answer, first.problem)
      const second = secondReading && read(secondReading)
      if (second && 'value' in second) return { value: second.value, notes: ['answer read after one repair call'] }
      const problem = second?.problem ?? first.problem
      const last = secondReading ?? answer
      // An unreadable review counts as a review without a verdict. Any other step with an output schema fails.
      if (steers) return { notes: [noVerdict(last, problem)] }
      throw unfit(step, last, problem)
    },
  }
}

function unfit(step: FlowStep, { cut, finishReason }: CallResponse, problem: string): OrchestratorError {
  const filtered = cut !== undefined && finishReason === 'content_filter'
  const message = `The answer of step "${step.id}" does not fit its outputSchema: ${problem}${cut === undefined ? '' : `; ${cut}`}`
  return new OrchestratorError(filtered ? 'CONTENT_FILTERED' : 'OUTPUT_INVALID', message, {
    details: { stepId: step.id, finishReason, problem },
  })
}

const howNote = (how: string): readonly string[] => (how === 'json' ? [] : [`answer read as ${how}`])

const NO_ANSWER: ReadonlySet<string> = new Set(['CONTENT_FILTERED', 'OUTPUT_INVALID'])

// The first answer is already paid for, so a failed repair call must not replace its problem with another error.
async function repaired(repair: Repair, { text }: CallResponse, problem: string): Promise<CallResponse | undefined> {
  try {
    return await repair(text, problem)
  } catch (error) {
    if (OrchestratorError.is(error) && (error.code.startsWith('PROVIDER_') || NO_ANSWER.has(error.code))) return undefined
    throw error
  }
}
