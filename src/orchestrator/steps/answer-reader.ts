import * as z from 'zod'
import type { CallResponse } from '../../calls/call.ts'
import { toOutputJsonSchema } from '../../domain/answers/output-schema.ts'
import { readStructured } from '../../domain/answers/structured-output.ts'
import { readVerdict, VERDICT_JSON_SCHEMA, verdictInstruction } from '../../domain/answers/verdict.ts'
import type { FlowStep } from '../../domain/definition/flow-definition.ts'
import type { JsonSchema } from '../../domain/execution/model-call.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { RunStepOptions } from '../../executors/executor.ts'

/** Asks the model once more, after an answer that could not be read. */
export type Repair = (text: string, problem: string) => Promise<CallResponse> | undefined

export interface Reading {
  readonly value?: unknown
  readonly notes: readonly string[]
}

/** How the answer of a step becomes a value. */
export interface StepAnswerReader {
  /** What is asked for in the request; absent: nothing. */
  readonly request?: { readonly schema: JsonSchema; readonly instruction: string }
  /**
   * Rejects with OUTPUT_INVALID where the step needs a value and there is none, even after one repair. An answer that was cut is not repaired: the same
   * bound or filter would cut it again.
   */
  read(response: CallResponse, repair: Repair): Promise<Reading>
}

/** The reader for a step; `undefined` where its text is taken as it is. */
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
    const again = isCut(answer) ? undefined : await repaired(repair, answer, first.problem)
    const second = again && verdictIn(again)
    if (second && 'verdict' in second) return { value: second.verdict, notes: ['verdict read after one repair call'] }
    return { notes: [noVerdict(again ?? answer, second?.problem ?? first.problem)] }
  },
}

const offeredVerdict: StepAnswerReader = {
  async read(answer) {
    const found = verdictIn(answer)
    return { value: 'verdict' in found ? found.verdict : undefined, notes: [] }
  },
}

const verdictIn = (answer: CallResponse) => readVerdict(answer.text, { cut: isCut(answer) })

/** The answer certainly lacks its end; one that ended for an unknown reason may be whole. */
const isCut = ({ cut, finishReason }: CallResponse): boolean => cut !== undefined && finishReason !== 'other'

const noVerdict = ({ cut }: CallResponse, problem: string): string => `no verdict: ${cut ?? problem}`

function schemaReader(step: FlowStep, schema: z.ZodType, steers: boolean): StepAnswerReader {
  const json = toOutputJsonSchema(schema)
  const read = (answer: CallResponse) => readStructured(answer.text, schema, { cut: isCut(answer), sole: steers })
  return {
    request: { schema: json, instruction: `Answer with JSON alone that fits this JSON Schema:\n${JSON.stringify(json)}` },
    async read(answer, repair) {
      const first = read(answer)
      if ('value' in first) return { value: first.value, notes: howNote(first.how) }
      const again = isCut(answer) ? undefined : await repaired(repair, answer, first.problem)
      const second = again && read(again)
      if (second && 'value' in second) return { value: second.value, notes: ['answer read after one repair call'] }
      const problem = second?.problem ?? first.problem
      const last = again ?? answer
      // A judge that cannot be read gives no verdict; everything else that promised a value has failed.
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

// The answer in hand is already paid for: a repair that fails leaves it unreadable, it does not fail the step a second way.
async function repaired(repair: Repair, { text }: CallResponse, problem: string): Promise<CallResponse | undefined> {
  try {
    return await repair(text, problem)
  } catch (error) {
    if (OrchestratorError.is(error) && (error.code.startsWith('PROVIDER_') || NO_ANSWER.has(error.code))) return undefined
    throw error
  }
}
