import * as z from 'zod'
import { readVerdict } from '../../domain/answers/verdict.ts'
import type { FlowStep } from '../../domain/definition/flow-definition.ts'
import { toProblems } from '../../domain/definition/problems.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { RunStepOptions } from '../../executors/executor.ts'
import type { StepAnswerReader } from '../steps/answers/answer-reader.ts'

/** The reader for a step with action `run`: its value needs no parsing and no repair. */
export function operationReader(step: FlowStep, verdict: RunStepOptions['verdict']): StepAnswerReader {
  const { outputSchema } = step
  return {
    async read({ value, text }) {
      if (verdict !== undefined && outputSchema === undefined) {
        const found = readVerdict(text, { cut: false })
        return { value: 'verdict' in found ? found.verdict : undefined, notes: [] }
      }
      if (!(outputSchema instanceof z.ZodType)) return { value, notes: [] }
      const read = await outputSchema.safeParseAsync(value)
      if (read.success) return { value: read.data, notes: [] }
      throw unfit(step, toProblems(outputSchema, read.error.issues, value))
    },
  }
}

function unfit({ id, provider, model }: FlowStep, problems: ReturnType<typeof toProblems>): OrchestratorError {
  const texts = problems.map(({ path, message }) => `${path === 'definition' ? 'the result' : path}: ${message}`)
  const message = `The result of ${provider}/${model} does not fit the outputSchema of step "${id}": ${texts.join('; ')}`
  return new OrchestratorError('OUTPUT_INVALID', message, { details: { stepId: id, problems: texts } })
}
