import type { FlowDefinition, FlowStep } from '../../domain/definition/flow-definition.ts'
import { isWaitingStep } from '../../domain/waiting/waiting-steps.ts'
import type { Executor } from '../../executors/executor.ts'
import type { DataSharingService, DecideSharing } from '../../policies/policy.ts'
import { stepReferences } from '../../prompts/step-references.ts'
import type { FlowFinding } from './flow-finding.ts'
import { createStepSources } from './step-sources.ts'

export interface SharingFindingsDeps {
  readonly executors: Readonly<Record<string, Executor>>
  readonly dataSharing: Pick<DataSharingService, 'get'>
  readonly decideSharing: DecideSharing
}

/** A required output that the step's provider may not see. */
export interface SharingNeed {
  readonly step: FlowStep
  /** Whether the output is read only if a likelier step has none. */
  readonly isStandIn: boolean
  readonly finding: FlowFinding
}

export interface SharingFindings {
  readonly needs: readonly SharingNeed[]
  readonly warnings: readonly FlowFinding[]
}

/**
 * Decides about every output that a step may read, from the definition alone, as the step itself would. Outputs that
 * prompt functions read, and outputs of fallbacks, are decided at run time.
 */
export async function sharingFindings(
  deps: SharingFindingsDeps,
  definition: FlowDefinition,
  userId: string,
): Promise<SharingFindings> {
  const needs: SharingNeed[] = []
  const warnings: FlowFinding[] = []
  if (!definition.contextPolicy.shareStepOutputs) return { needs, warnings }
  const sourcesOf = throughWaitingSteps(createStepSources(definition, deps.executors[definition.type] ?? {}))
  for (const [index, step] of definition.steps.entries()) {
    if (isWaitingStep(step)) continue
    const policy = await deps.dataSharing.get(userId, step.provider)
    for (const { source, isRequired, isStandIn } of sourcesOf(step)) {
      if (!isRequired && (isStandIn || !showsInput(step))) continue
      const decision = deps.decideSharing({ kind: 'step_output', name: source.id, from: source.provider }, step.provider, policy)
      if (decision.allowed) continue
      const finding: FlowFinding = {
        code: 'DATA_SHARING_DENIED',
        path: `steps[${index}]`,
        message: `step "${step.id}" ${isRequired ? 'needs' : 'would be given'} the output of "${source.id}" (${source.provider}), which may not go to ${step.provider}: ${decision.rule}`,
        details: {
          stepId: step.id,
          piece: source.id,
          kind: 'step_output',
          from: source.provider,
          to: step.provider,
          rule: decision.rule,
          userId,
        },
      }
      if (isRequired) needs.push({ step, isStandIn, finding })
      else warnings.push(finding)
    }
    if (definition.contextPolicy.shareConversationHistory && !policy?.allowConversationHistory) {
      warnings.push({
        code: 'DATA_SHARING_DENIED',
        path: 'contextPolicy.shareConversationHistory',
        message: `the conversation will be withheld from ${step.provider} in step "${step.id}"`,
        details: {
          stepId: step.id,
          kind: 'conversation_history',
          to: step.provider,
          rule: policy ? 'allowConversationHistory' : 'no_policy',
          userId,
        },
      })
    }
  }
  return { needs, warnings }
}

type SourcesOf = ReturnType<typeof createStepSources>

/** A step that waits passes texts of other steps on, so their providers are the sources of what it gives. */
function throughWaitingSteps(sourcesOf: SourcesOf): SourcesOf {
  const expand = (step: FlowStep, seen: ReadonlySet<FlowStep>): ReturnType<SourcesOf> =>
    sourcesOf(step).flatMap((given) => {
      const { source, isRequired, isStandIn } = given
      if (!isWaitingStep(source)) return [given]
      if (seen.has(source)) return []
      return expand(source, new Set([...seen, source])).map((further) => ({ ...further, isRequired, isStandIn }))
    })
  return (step) => expand(step, new Set())
}

/**
 * Whether the step's input is appended to its prompt. A prompt that needs no input gets no output merely because it
 * comes next.
 */
const showsInput = (step: FlowStep): boolean =>
  step.inputFrom !== undefined ||
  step.dependsOn !== undefined ||
  (step.prompt !== 'original' && typeof step.prompt !== 'function' && stepReferences(step).steps.length === 0)
