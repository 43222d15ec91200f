import * as z from 'zod'
import { isApproved } from '../domain/answers/verdict.ts'
import type { FlowDefinition, FlowStep } from '../domain/definition/flow-definition.ts'
import type { StepResult } from '../domain/execution/step-result.ts'
import type { StepAction, StopReason } from '../domain/vocabulary.ts'
import type { Executor, ExecutorContext, ExecutorResult } from './executor.ts'
import { getLoopRoles, idleSteps, isRoles, loopInputs, loopNearest, loopRoles, loopSteps } from './loop-roles.ts'
import { editOf, lastOf, lastSuccess, readyOrSkipped, runIfReady, runInOrder, runTogether, succeeded } from './step-outcome.ts'

export const critiqueSettings = z.strictObject({
  /** Maximum rounds of criticism and refinement, 1 to 20; default 1. */
  rounds: z.number().int().min(1).max(20).default(1),
})

declare module '../domain/definition/flow-definition.ts' {
  interface FlowTypeSettings {
    critique: z.input<typeof critiqueSettings>
  }
}

const REVIEW_ACTIONS: readonly StepAction[] = ['critique', 'evaluate', 'validate', 'approve']

/**
 * One step drafts, others criticise concurrently, one refines. Ends early when every critic's verdict is `approved`. An
 * approve step among them is a critic as well: a person decides about each draft, and an edit replaces it.
 */
export const critiqueExecutor: Executor = {
  type: 'critique',
  settings: critiqueSettings,
  forwardReferences: true,
  check: (definition) => {
    const roles = loopRoles(definition, REVIEW_ACTIONS)
    return isRoles(roles) ? [] : roles
  },
  calls: (definition) => {
    const roles = getLoopRoles(definition, REVIEW_ACTIONS)
    const rounds = definition.critique?.rounds ?? 1
    const idle = idleSteps(definition, roles)
    const looping = new Set([...roles.reviewers, roles.refine])
    return definition.steps.map((step) => ({
      stepId: step.id,
      min: idle.has(step) ? 0 : 1,
      max: looping.has(step) ? rounds : 1,
    }))
  },
  loop: (definition) => loopSteps(getLoopRoles(definition, REVIEW_ACTIONS)),
  verdicts: (definition) =>
    asksForVerdicts(definition) ? getLoopRoles(definition, REVIEW_ACTIONS).reviewers.map(({ id }) => id) : [],
  implicitInputs: (definition) => loopInputs(getLoopRoles(definition, REVIEW_ACTIONS)),
  nearest: (definition) => loopNearest(definition, getLoopRoles(definition, REVIEW_ACTIONS), { reviewsAreSeen: true }),
  answers: (definition) => {
    const { refine, after } = getLoopRoles(definition, REVIEW_ACTIONS)
    // The refinement of the last round is the output whenever it runs. An earlier draft is the output only if every
    // critic approves of it, which is known too late for streaming.
    return after.length > 0 ? lastOf(after) : [{ stepId: refine.id, iteration: definition.critique?.rounds ?? 1 }]
  },
  run: runCritique,
}

/** With one round a verdict only decides whether the refinement runs, so plain prose from a critic is accepted. */
const asksForVerdicts = ({ critique }: FlowDefinition): boolean => (critique?.rounds ?? 1) > 1

async function runCritique(definition: FlowDefinition, context: ExecutorContext): Promise<ExecutorResult> {
  const { before, draft, reviewers, refine, after } = getLoopRoles(definition, REVIEW_ACTIONS)
  const rounds = definition.critique?.rounds ?? 1
  const verdict = asksForVerdicts(definition) ? 'ask' : 'read'
  const start = await runInOrder(definition, before, context)
  const first = await runIfReady(definition, draft, context, { visible: start })
  let latest = first
  let seen: readonly StepResult[] = [...start, first]
  let stopReason: StopReason | undefined
  for (let iteration = 1; iteration <= rounds && succeeded(latest); iteration++) {
    const critics: FlowStep[] = []
    for (const reviewer of reviewers) {
      if (await readyOrSkipped(definition, reviewer, context, { iteration, input: [latest], visible: seen }))
        critics.push(reviewer)
    }
    if (critics.length === 0) break
    const critiques = await runTogether(critics, context, { iteration, verdict, input: [latest], visible: seen })
    seen = [...start, ...(latest === first ? [first] : [first, latest]), ...critiques]
    if (critiques.every((critique) => succeeded(critique) && isApproved(critique.parsed))) {
      stopReason = 'approved'
      latest = editOf(critiques) ?? latest
      break
    }
    const refined = await runIfReady(definition, refine, context, { iteration, input: [latest], visible: seen })
    if (!succeeded(refined)) break
    latest = refined
    seen = [...start, first, refined]
    // A single round could not have stopped for another reason.
    if (iteration === rounds && rounds > 1) stopReason = 'max_iterations'
  }
  const all = await runInOrder(definition, after, context, seen)
  // Steps after the loop see the critiques, but a critique is never the output of the flow.
  return { final: lastSuccess([...start, latest, ...all.slice(seen.length)]), stopReason }
}
