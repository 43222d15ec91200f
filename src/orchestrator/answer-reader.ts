import * as z from 'zod'
import type { FlowStep } from '../domain/flow-definition.ts'
import type { JsonSchema, ModelResponse } from '../domain/model-call.ts'
import { toOutputJsonSchema } from '../domain/output-schema.ts'
import { readStructured } from '../domain/structured-output.ts'
import { readVerdict, VERDICT_JSON_SCHEMA, verdictInstruction } from '../domain/verdict.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { RunStepOptions } from '../executors/executor.ts'

/** Asks the model once more, after an answer that could not be read; resolves with the new text. */
export type Repair = (text: string, problem: string) => Promise<string>

export interface Reading {
  readonly value?: unknown
  readonly notes: readonly string[]
}

/** How the answer of a step becomes a value. */
export interface AnswerReader {
  /** What is asked for in the request; absent: nothing. */
  readonly request?: { readonly schema: JsonSchema; readonly instruction: string }
  /** Rejects with OUTPUT_INVALID where the step needs a value and there is none, even after one repair. */
  read(response: ModelResponse, repair: Repair): Promise<Reading>
}

/** The reader for a step; `undefined` where its text is taken as it is. */
export function answerReader(step: FlowStep, verdict: RunStepOptions['verdict']): AnswerReader | undefined {
  if (step.outputSchema instanceof z.ZodType) return schemaReader(step, step.outputSchema, verdict !== undefined)
  if (verdict === 'ask') return askedVerdict
  return verdict === 'read' ? offeredVerdict : undefined
}

const askedVerdict: AnswerReader = {
  request: { schema: VERDICT_JSON_SCHEMA, instruction: verdictInstruction() },
  async read({ text }, repair) {
    const first = readVerdict(text)
    if (first) return { value: first.verdict, notes: howNote(first.how) }
    const again = readVerdict(await repairOrEmpty(repair, text, 'it holds no verdict'))
    return again ? { value: again.verdict, notes: ['verdict read after one repair call'] } : { notes: [NO_VERDICT] }
  },
}

const offeredVerdict: AnswerReader = {
  async read({ text }) {
    const found = readVerdict(text)
    return { value: found?.verdict, notes: [] }
  },
}

const NO_VERDICT = 'no verdict: the answer could not be read as one'

function schemaReader(step: FlowStep, schema: z.ZodType, steers: boolean): AnswerReader {
  const json = toOutputJsonSchema(schema)
  return {
    request: { schema: json, instruction: `Answer with JSON alone that fits this JSON Schema:\n${JSON.stringify(json)}` },
    async read({ text, finishReason }, repair) {
      const first = readStructured(text, schema)
      if ('value' in first) return { value: first.value, notes: howNote(first.how) }
      const again = readStructured(await repairOrEmpty(repair, text, first.problem), schema)
      if ('value' in again) return { value: again.value, notes: ['answer read after one repair call'] }
      // A judge that cannot be read gives no verdict; everything else that promised a value has failed.
      if (steers) return { notes: [NO_VERDICT] }
      throw new OrchestratorError(
        'OUTPUT_INVALID',
        `The answer of step "${step.id}" does not fit its outputSchema: ${again.problem}`,
        {
          details: { stepId: step.id, finishReason, problem: again.problem },
        },
      )
    },
  }
}

const howNote = (how: string): readonly string[] => (how === 'json' ? [] : [`answer read as ${how}`])

// The answer in hand is already paid for: a repair that fails leaves it unreadable, it does not fail the step a second way.
async function repairOrEmpty(repair: Repair, text: string, problem: string): Promise<string> {
  try {
    return await repair(text, problem)
  } catch (error) {
    if (OrchestratorError.is(error) && error.code.startsWith('PROVIDER_')) return ''
    throw error
  }
}
