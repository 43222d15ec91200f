import type { FlowDefinition, FlowStep } from '../../../domain/definition/flow-definition.ts'
import { isRunStep } from '../../../domain/tools/tool-fields.ts'
import { describeDenial } from '../../../domain/users/origins.ts'
import type { DataSharingPolicy, DataSharingRules, Origin, SharingDecision } from '../../../domain/users/sharing.ts'
import { isWaitingStep } from '../../../domain/waiting/waiting-steps.ts'
import type { Executor } from '../../../executors/executor.ts'
import type { DataSharingService, DecideSharing, SharingItem } from '../../../policies/policy.ts'
import { stepReferences } from '../../../prompts/step-references.ts'
import type { NamedProvider } from '../../../providers/provider.ts'
import type { FlowFinding } from '../flow-finding.ts'
import { createFileReaders, createStepSources, type StepSource } from '../step-sources.ts'
import { forecastOrigins, type OriginForecast } from './origin-forecast.ts'

export interface SharingFindingsDeps {
  readonly executors: Readonly<Record<string, Executor>>
  readonly dataSharing: Pick<DataSharingService, 'get'>
  readonly decideSharing: DecideSharing
  /** Implemented by createPricingLookup. */
  readonly pricingOf: (provider: string) => NamedProvider
}

export interface SharingFindingsOptions {
  /** Whether the prompt has files for certain. Default: unknown. */
  readonly hasFiles?: boolean
}

/** A required item that the step's provider may not see. */
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
 * Decides about every output that a step may read and about metadata, from the definition alone, as the step itself
 * would. A denial that every run meets is a need. One that depends on the conversation, on attachments or on which
 * provider answers is a warning. What prompt functions read, and what fallbacks may see, is decided at run time.
 */
export async function sharingFindings(
  deps: SharingFindingsDeps,
  definition: FlowDefinition,
  userId: string,
  { hasFiles = false }: SharingFindingsOptions = {},
): Promise<SharingFindings> {
  const needs: SharingNeed[] = []
  const warnings: FlowFinding[] = []
  const policies = await readPolicies(deps, definition, userId)
  const { provenance, shareConversationHistory, shareStepOutputs } = definition.contextPolicy
  const decide = (piece: SharingItem, to: string) => deps.decideSharing(piece, to, policies.get(to), provenance)
  const executor = deps.executors[definition.type] ?? {}
  const sourcesOf = createStepSources(definition, executor)
  const readsFiles = createFileReaders(definition, executor)
  const isAllowed = (piece: Origin, to: string) => decide({ ...piece, name: '' }, to).allowed
  const forecasts = forecastOrigins(definition, { sourcesOf, readsFiles, hasFiles, isAllowed })
  for (const [index, step] of definition.steps.entries()) {
    if (isWaitingStep(step)) continue
    const to = step.provider
    const finding = (message: string, piece: SharingItem, decision: SharingDecision): FlowFinding => ({
      code: 'DATA_SHARING_DENIED',
      path: `steps[${index}]`,
      message: `step "${step.id}" ${message}`,
      details: { ...detailsOf(step, decision), userId, allow: neededRules(piece, (one) => isAllowed(one, to)) },
    })
    for (const given of shareStepOutputs ? throughWaitingSteps(sourcesOf, step) : []) {
      const { source, isRequired, isStandIn } = given
      if (!isRequired && (isStandIn || !showsInput(step))) continue
      const { certain, possible } = toItems(given, step, forecasts)
      const decision = decide(certain, to)
      if (!decision.allowed) {
        const verb = isRequired ? 'needs' : 'would be given'
        const found = finding(
          `${verb} the output of "${source.id}" (${source.provider}), ${describe(decision)}`,
          certain,
          decision,
        )
        if (isRequired) needs.push({ step, isStandIn, finding: found })
        else warnings.push(found)
        continue
      }
      const doubt = decide(possible, to)
      if (doubt.allowed) continue
      const verb = isRequired ? 'may fail: it needs' : 'may lack'
      warnings.push(
        finding(`${verb} the output of "${source.id}" (${source.provider}), ${describePossible(doubt)}`, possible, doubt),
      )
    }
    const references = stepReferences(step)
    if (references.metadata) {
      const piece = { kind: 'metadata', name: 'metadata' } as const
      const decision = decide(piece, to)
      if (!decision.allowed) {
        const found = finding(`reads the metadata of the run, ${describeDenial(decision)}`, piece, decision)
        if (references.needsMetadata) needs.push({ step, isStandIn: false, finding: found })
        else warnings.push(found)
      }
    }
    const history = decide({ kind: 'conversation_history', name: 'conversation' }, to)
    if (!isRunStep(step) && shareConversationHistory && !history.allowed) {
      warnings.push({
        code: 'DATA_SHARING_DENIED',
        path: 'contextPolicy.shareConversationHistory',
        message: `the conversation will be withheld from ${to} in step "${step.id}"`,
        details: { stepId: step.id, kind: 'conversation_history', to, rule: history.rule, userId },
      })
    }
  }
  return { needs, warnings }
}

async function readPolicies(
  { dataSharing }: Pick<SharingFindingsDeps, 'dataSharing'>,
  { steps }: FlowDefinition,
  userId: string,
): Promise<ReadonlyMap<string, DataSharingPolicy | undefined>> {
  const ids = new Set(
    steps.filter((step) => !isWaitingStep(step)).flatMap((step) => [step, ...step.fallbacks].map((one) => one.provider)),
  )
  return new Map(await Promise.all([...ids].map(async (id) => [id, await dataSharing.get(userId, id)] as const)))
}

/**
 * The output as it certainly is, and as it may be. A provider has seen everything that its own output was made from.
 */
function toItems(
  { source, via }: PassedSource,
  { provider }: FlowStep,
  forecasts: ReadonlyMap<FlowStep, OriginForecast>,
): { readonly certain: SharingItem; readonly possible: SharingItem } {
  const piece = { kind: 'step_output', name: source.id, from: source.provider } as const
  const isWhollyOwn = source.provider === provider && source.fallbacks.length === 0 && !via
  const forecast = forecasts.get(via ?? source)
  if (isWhollyOwn || !forecast) return { certain: piece, possible: piece }
  return { certain: { ...piece, madeFrom: forecast.certain }, possible: { ...piece, madeFrom: forecast.possible } }
}

function detailsOf(
  { id }: FlowStep,
  { piece, kind, from, to, rule, origin }: SharingDecision,
): Readonly<Record<string, unknown>> {
  return { stepId: id, piece, kind, ...(from !== undefined && { from }), to, rule, ...(origin && { origin }) }
}

const describe = (decision: SharingDecision): string =>
  decision.origin ? describeDenial(decision) : `which may not go to ${decision.to}: ${decision.rule}`

const describePossible = (decision: SharingDecision): string =>
  describe(decision).replace(' was made from ', ' may be made from ')

/** The rules of the policy that the user would have to set for an item, whichever of them denied it first. */
function neededRules(
  { kind, from, madeFrom = [] }: SharingItem,
  isAllowed: (one: Origin) => boolean,
): readonly (keyof DataSharingRules)[] {
  const parts: readonly Origin[] = [from === undefined ? { kind } : { kind, from }, ...madeFrom]
  const rules = parts.flatMap((part): readonly (keyof DataSharingRules)[] => {
    if (isAllowed(part)) return []
    if (part.kind === 'attachment') return ['allowAttachments']
    if (part.kind === 'step_output' || part.kind === 'tool_result') return ['allowCrossProviderContext']
    return part.from === undefined ? ['allowConversationHistory'] : ['allowConversationHistory', 'allowCrossProviderContext']
  })
  return [...new Set(rules)]
}

/** An output that a step reads, and the step that waits through which it comes. */
interface PassedSource extends StepSource {
  readonly via?: FlowStep
}

/** A step that waits passes texts of other steps on, so their providers are the sources of what it gives. */
function throughWaitingSteps(sourcesOf: (step: FlowStep) => readonly StepSource[], reader: FlowStep): readonly PassedSource[] {
  const expand = (step: FlowStep, seen: ReadonlySet<FlowStep>): readonly PassedSource[] =>
    sourcesOf(step).flatMap((given): readonly PassedSource[] => {
      const { source, isRequired, isStandIn } = given
      if (!isWaitingStep(source)) return [given]
      if (seen.has(source)) return []
      return expand(source, new Set([...seen, source])).map((further) => ({ ...further, isRequired, isStandIn, via: source }))
    })
  return expand(reader, new Set())
}

/**
 * Whether the step's input is appended to its prompt. A prompt that needs no input gets no output merely because it
 * comes next.
 */
const showsInput = (step: FlowStep): boolean =>
  step.inputFrom !== undefined ||
  step.dependsOn !== undefined ||
  (step.prompt !== 'original' && typeof step.prompt !== 'function' && stepReferences(step).steps.length === 0)
