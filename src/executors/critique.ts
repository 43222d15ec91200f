import * as z from 'zod'
import { isApproved } from '../domain/answers/verdict.ts'
import type { FlowDefinition, FlowStep } from '../domain/definition/flow-definition.ts'
import type { StepResult } from '../domain/execution/step-result.ts'
import type { StepAction, StopReason } from '../domain/vocabulary.ts'
import type { Executor, ExecutorContext, ExecutorResult } from './executor.ts'
import { getLoopRoles, idleSteps, isRoles, loopInputs, loopNearest, loopRoles, loopSteps } from './loop-roles.ts'
import { lastOf, lastSuccess, readyOrSkipped, runIfReady, runInOrder, runTogether, succeeded } from './step-outcome.ts'

export const critiqueSettings = z.strictObject({
  /** Rounds of criticism and refinement at most. */
  rounds: z.number().int().min(1).max(20).default(1),
})

declare module '../domain/definition/flow-definition.ts' {
  interface FlowTypeSettings {
    critique: z.input<typeof critiqueSettings>
  }
}

const JUDGING: readonly StepAction[] = ['critique', 'evaluate', 'validate']

/** One writes, others criticise at the same time, the first refines; ends early when every critic's verdict is `approved`. */
export const critiqueExecutor: Executor = {
  type: 'critique',
  settings: critiqueSettings,
  forwardReferences: true,
  check: (definition) => {
    const roles = loopRoles(definition, JUDGING)
    return isRoles(roles) ? [] : roles
  },
  calls: (definition) => {
    const roles = getLoopRoles(definition, JUDGING)
    const rounds = definition.critique?.rounds ?? 1
    const idle = idleSteps(definition, roles)
    const looping = new Set([...roles.judges, roles.refine])
    return definition.steps.map((step) => ({
      stepId: step.id,
      min: idle.has(step) ? 0 : 1,
      max: looping.has(step) ? rounds : 1,
    }))
  },
  loop: (definition) => loopSteps(getLoopRoles(definition, JUDGING)),
  implicitInputs: (definition) => loopInputs(getLoopRoles(definition, JUDGING)),
  nearest: (definition) => loopNearest(definition, getLoopRoles(definition, JUDGING), { reviewsAreSeen: true }),
  answers: (definition) => {
    const { refine, after } = getLoopRoles(definition, JUDGING)
    // A draft of an earlier round is the output only if every critic approves of it.
    return after.length > 0 ? lastOf(after) : [{ stepId: refine.id, iteration: definition.critique?.rounds ?? 1 }]
  },
  run: runCritique,
}

async function runCritique(definition: FlowDefinition, context: ExecutorContext): Promise<ExecutorResult> {
  const { before, draft, judges, refine, after } = getLoopRoles(definition, JUDGING)
  const rounds = definition.critique?.rounds ?? 1
  // With one round nothing is steered but the last step, so plain prose from a critic is as good as a verdict.
  const verdict = rounds > 1 ? 'ask' : 'read'
  const start = await runInOrder(definition, before, context)
  const first = await runIfReady(definition, draft, context, { visible: start })
  let latest = first
  let seen: readonly StepResult[] = [...start, first]
  let stopReason: StopReason | undefined
  for (let iteration = 1; iteration <= rounds && succeeded(latest); iteration++) {
    const critics: FlowStep[] = []
    for (const judge of judges) {
      if (await readyOrSkipped(definition, judge, context, { iteration, input: [latest], visible: seen })) critics.push(judge)
    }
    if (critics.length === 0) break
    const critiques = await runTogether(critics, context, { iteration, verdict, input: [latest], visible: seen })
    seen = [...start, ...(latest === first ? [first] : [first, latest]), ...critiques]
    if (critiques.every((critique) => succeeded(critique) && isApproved(critique.parsed))) {
      stopReason = 'approved'
      break
    }
    const refined = await runIfReady(definition, refine, context, { iteration, input: [latest], visible: seen })
    if (!succeeded(refined)) break
    latest = refined
    seen = [...start, first, refined]
    // A single round is no loop that could have stopped otherwise.
    if (iteration === rounds && rounds > 1) stopReason = 'max_iterations'
  }
  const all = await runInOrder(definition, after, context, seen)
  // What the critics said is seen by the steps after the loop, but is never the output of the flow.
  return { final: lastSuccess([...start, latest, ...all.slice(seen.length)]), stopReason }
}
