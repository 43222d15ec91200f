import type { FlowDefinition, FlowStep } from '../../../domain/definition/flow-definition.ts'
import { joinOrigins, PROMPT_ONLY, toOrigin } from '../../../domain/users/origins.ts'
import type { ContextKind, Origin } from '../../../domain/users/sharing.ts'
import { isWaitingStep } from '../../../domain/waiting/waiting-steps.ts'
import { stepReferences } from '../../../prompts/step-references.ts'
import type { StepSource } from '../step-sources.ts'

/** What the output of a step is made from, as far as its definition and the user's policies say. */
export interface OriginForecast {
  /** What it is made from in every run in which the step gives an output. */
  readonly certain: readonly Origin[]
  /** What it may be made from in some run, `certain` included. */
  readonly possible: readonly Origin[]
}

export interface ForecastDeps {
  readonly sourcesOf: (step: FlowStep) => readonly StepSource[]
  /** Implemented by createFileReaders. */
  readonly readsFiles: (step: FlowStep) => boolean
  /** Whether the prompt has files for certain, which then count as shared with the steps that get them. */
  readonly hasFiles: boolean
  /** Whether the policy of the user allows an item to reach a provider. */
  readonly isAllowed: (piece: { readonly kind: ContextKind; readonly from?: string }, to: string) => boolean
}

const NOTHING: OriginForecast = { certain: PROMPT_ONLY, possible: PROMPT_ONLY }

/**
 * Finds what the texts of a flow are made from, step by step. Repeated until nothing is added, because the steps of a
 * loop read each other. Outputs that only prompt functions read are missing, because they are unknown until the
 * function runs.
 */
export function forecastOrigins(definition: FlowDefinition, deps: ForecastDeps): ReadonlyMap<FlowStep, OriginForecast> {
  const forecasts = new Map<FlowStep, OriginForecast>()
  for (let hasGrown = true; hasGrown; ) {
    hasGrown = false
    for (const step of definition.steps) {
      const before = forecasts.get(step)
      const next = forecastOf(definition, step, deps, forecasts)
      if (before && before.certain.length === next.certain.length && before.possible.length === next.possible.length) continue
      forecasts.set(step, next)
      hasGrown = true
    }
  }
  return forecasts
}

function forecastOf(
  definition: FlowDefinition,
  step: FlowStep,
  { sourcesOf, readsFiles, hasFiles, isAllowed }: ForecastDeps,
  forecasts: ReadonlyMap<FlowStep, OriginForecast>,
): OriginForecast {
  const { shareConversationHistory, shareStepOutputs } = definition.contextPolicy
  const references = stepReferences(step)
  const isWaiting = isWaitingStep(step)
  const targets = isWaiting ? [] : [step, ...step.fallbacks].map(({ provider }) => provider)
  const reaches = (kind: ContextKind, from?: string) =>
    isWaiting || targets.some((target) => isAllowed(from === undefined ? { kind } : { kind, from }, target))
  const sources = sourcesOf(step)
  const certain: (readonly Origin[])[] = [PROMPT_ONLY]
  const possible: (readonly Origin[])[] = []

  const offersHistory = isWaiting ? references.history : shareConversationHistory
  if (offersHistory && reaches('conversation_history')) possible.push([toOrigin('conversation_history')])
  if (readsFiles(step) && hasFiles) certain.push([toOrigin('attachment')])
  else if (readsFiles(step) && reaches('attachment')) possible.push([toOrigin('attachment')])
  if (references.metadata && reaches('metadata')) (references.needsMetadata ? certain : possible).push([toOrigin('metadata')])

  for (const { source, isRequired, isStandIn } of shareStepOutputs || isWaiting ? sources : []) {
    const forecast = forecasts.get(source) ?? NOTHING
    const writers = writersOf(source)
    if (!writers.some(({ from }) => reaches('step_output', from)) && writers.length > 0) continue
    // A fallback may write the output in place of the step's own provider.
    const hasOneWriter = writers.length <= 1
    if (isRequired && !isStandIn) certain.push(forecast.certain, hasOneWriter ? writers : [])
    possible.push(forecast.possible, writers)
  }
  const sure = joinOrigins(certain)
  return { certain: sure, possible: joinOrigins([sure, ...possible]) }
}

/** The providers that may write the output of a step; a step that waits passes the texts of others on. */
const writersOf = (step: FlowStep): readonly Origin[] =>
  isWaitingStep(step) ? [] : joinOrigins([step, ...step.fallbacks].map(({ provider }) => [toOrigin('step_output', provider)]))
