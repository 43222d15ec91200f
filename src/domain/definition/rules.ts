import * as z from 'zod'
import { findRunProblems, type RunFields } from '../tools/run-rules.ts'
import { OrchestrationFlowType } from '../vocabulary.ts'
import { findWaitingProblems, type WaitingInput } from '../waiting/waiting-rules.ts'
import { contextPolicySchema, type DefinitionProblem, flowStepSchema } from './flow-definition.ts'
import type { LooseStep } from './named-steps.ts'
import type { TargetsInput } from './targets.ts'

/** A step of which only the well-formed fields are known. */
export interface SalvagedStep extends LooseStep, TargetsInput, WaitingInput, RunFields {
  readonly approval?: WaitingInput['approval']
  readonly correlation?: string | undefined
  readonly otherwise?: boolean | undefined
  readonly outputSchema?: z.output<typeof flowStepSchema>['outputSchema']
}

/** A definition of which only the well-formed fields are known. */
export interface SalvagedDefinition {
  readonly type?: OrchestrationFlowType | undefined
  readonly contextPolicy?: { readonly shareStepOutputs?: boolean | undefined } | undefined
  readonly steps: readonly SalvagedStep[]
}

const { shape } = flowStepSchema

const salvagedStepSchema = z
  .object({
    id: z.string().optional().catch(undefined),
    provider: shape.provider.catch(undefined),
    model: shape.model.catch(undefined),
    agent: shape.agent.catch(undefined),
    needs: shape.needs.catch(undefined),
    inputFrom: shape.inputFrom.catch(undefined),
    dependsOn: shape.dependsOn.catch(undefined),
    prompt: shape.prompt.catch(undefined),
    system: shape.system.catch(undefined),
    condition: shape.condition.catch(undefined),
    otherwise: shape.otherwise.catch(undefined),
    fallbacks: shape.fallbacks.catch(undefined),
    outputSchema: shape.outputSchema.catch(undefined),
    action: shape.action.optional().catch(undefined),
    approval: shape.approval.catch(undefined),
    for: shape.for.catch(undefined),
    until: shape.until.catch(undefined),
    event: shape.event.catch(undefined),
    correlation: shape.correlation.catch(undefined),
    timeoutMs: shape.timeoutMs.catch(undefined),
    arguments: shape.arguments.catch(undefined),
  })
  .catch({})

const salvagedDefinitionSchema = z
  .object({
    type: z.enum(OrchestrationFlowType).optional().catch(undefined),
    contextPolicy: contextPolicySchema.pick({ shareStepOutputs: true }).optional().catch(undefined),
    steps: z.array(salvagedStepSchema).catch([]),
  })
  .catch({ steps: [] })

/** The well-formed fields of a definition that has the wrong shape, so that later checks find further problems. */
export const salvageDefinition = (input: unknown): SalvagedDefinition => salvagedDefinitionSchema.parse(input)

/** Adds problems between the fields of one step, and between steps and the flow type. */
export function findRuleProblems({ type, steps }: SalvagedDefinition, problems: DefinitionProblem[]): void {
  for (const [index, step] of steps.entries()) {
    findWaitingProblems(step, `steps[${index}]`, problems)
    findRunProblems(step, `steps[${index}]`, problems)
    if (!step.otherwise) continue
    const path = `steps[${index}].otherwise`
    if (step.condition !== undefined) {
      problems.push({ path, message: 'expected either a condition or otherwise: true, found both' })
    }
    if (type !== undefined && type !== OrchestrationFlowType.CONDITIONAL) {
      problems.push({ path, message: `expected a flow of type conditional, found ${type}` })
    }
  }
}
