import * as z from 'zod'
import { toOutputJsonSchema } from '../../../domain/answers/output-schema.ts'
import type { FlowDefinition } from '../../../domain/definition/flow-definition.ts'
import type { StepResult } from '../../../domain/execution/step-result.ts'
import type { OrchestratorService } from '../../../orchestrator/orchestrator-service.ts'
import { refusal } from '../request-errors.ts'
import type { WantedJson } from '../unsupported.ts'
import { findMismatch } from './find-mismatch.ts'

/**
 * Checks that the flow answers with the demanded JSON: every step that may write the answer must have an
 * `outputSchema` whose values conform to the demanded schema. Rejects with INPUT_INVALID, before any model is called.
 */
export async function assertAnswersJson(
  orchestrator: Pick<OrchestratorService, 'finalSteps'>,
  definition: FlowDefinition,
  { param, schema }: WantedJson,
): Promise<void> {
  const steps = await orchestrator.finalSteps(definition)
  const [first] = steps
  if (!first) {
    const why =
      'expected a flow in which one step writes the answer; in this flow several steps may write it, or their texts are combined'
    throw refusal(param, `${param}: ${why}. Add a last step with an outputSchema`, 'unsupported_parameter')
  }
  for (const { id, outputSchema } of steps) {
    if (!outputSchema) {
      const why = `expected an outputSchema at step "${id}", which writes the answer of this flow, found none`
      throw refusal(param, `${param}: ${why}: the flow determines the form of its answer`, 'unsupported_parameter')
    }
    const mismatch =
      schema && findMismatch(outputSchema instanceof z.ZodType ? toOutputJsonSchema(outputSchema) : outputSchema, schema)
    if (mismatch !== undefined) {
      throw refusal(param, `${param}: the outputSchema of step "${id}" does not match: ${mismatch}`, 'unsupported_value')
    }
  }
}

/** The JSON of an answer without the text that models write around it. */
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
