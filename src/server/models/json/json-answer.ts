import * as z from 'zod'
import { toOutputJsonSchema } from '../../../domain/answers/output-schema.ts'
import type { FlowDefinition } from '../../../domain/definition/flow-definition.ts'
import type { StepResult } from '../../../domain/execution/step-result.ts'
import type { OrchestratorService } from '../../../orchestrator/orchestrator-service.ts'
import { refusal } from '../request-errors.ts'
import type { WantedJson } from '../unsupported.ts'
import { findMismatch } from './find-mismatch.ts'

/**
 * Rejects with INPUT_INVALID, before anything is paid for, unless every step that may give the answer of the flow has
 * an `outputSchema` that fits what is wanted.
 */
export async function assertAnswersJson(
  orchestrator: Pick<OrchestratorService, 'finalSteps'>,
  definition: FlowDefinition,
  { param, schema }: WantedJson,
): Promise<void> {
  const steps = await orchestrator.finalSteps(definition)
  const [first] = steps
  if (!first) {
    const why = 'expected a flow that one certain step answers: here several steps may, or the texts of several are put together'
    throw refusal(param, `${param}: ${why}. Add a last step with an outputSchema`, 'unsupported_parameter')
  }
  for (const { id, outputSchema } of steps) {
    if (!outputSchema) {
      const why = `expected an outputSchema at step "${id}", which gives the answer of this flow, found none`
      throw refusal(param, `${param}: ${why}: the flow decides how its answer looks`, 'unsupported_parameter')
    }
    const misfit =
      schema && findMismatch(outputSchema instanceof z.ZodType ? toOutputJsonSchema(outputSchema) : outputSchema, schema)
    if (misfit !== undefined) {
      throw refusal(param, `${param}: the outputSchema of step "${id}" does not fit: ${misfit}`, 'unsupported_value')
    }
  }
}

/** The JSON alone: models write text around it, and the value that was read from it stands beside the text. */
export function toJsonText(text: string, { parsed }: Pick<StepResult, 'parsed'>): string {
  return parsed === undefined || isJson(text) ? text : JSON.stringify(parsed)
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
