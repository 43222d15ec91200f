import * as z from 'zod'
import type { FlowDefinition, StepAction } from '../domain/flow-definition.ts'
import type { StepResult } from '../domain/step-result.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { Executor, ExecutorContext, ExecutorResult } from './executor.ts'
import { isRoles, type LoopRoles, loopFeeds, loopRoles } from './loop-roles.ts'
import { lastSuccess, runInOrder, runRequired, runTogether, succeeded } from './step-outcome.ts'
import { approvedBy } from './verdict-value.ts'

export const critiqueSettings = z.strictObject({
  /** Rounds of criticism and refinement at most. */
  rounds: z.number().int().min(1).max(20).default(1),
})

declare module '../domain/flow-definition.ts' {
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
    const roles = rolesOf(definition)
    const rounds = definition.critique?.rounds ?? 1
    const looping = new Set([...roles.judges, roles.refine])
    return definition.steps.map((step) => ({
      stepId: step.id,
      min: step === roles.refine || step.condition !== undefined ? 0 : 1,
      max: looping.has(step) ? rounds : 1,
    }))
  },
  feeds: (definition) => loopFeeds(rolesOf(definition)),
  run: runCritique,
}

async function runCritique(definition: FlowDefinition, context: ExecutorContext): Promise<ExecutorResult> {
  const { before, draft, judges, refine, after } = rolesOf(definition)
  const rounds = definition.critique?.rounds ?? 1
  // With one round nothing is steered but the last step, so plain prose from a critic is as good as a verdict.
  const verdict = rounds > 1 ? 'ask' : 'read'
  const start = await runInOrder(before, context)
  const first = await runRequired(draft, context, { visible: start })
  let latest = first
  let seen: readonly StepResult[] = [...start, first]
  let approved = false
  for (let iteration = 1; iteration <= rounds && !approved && succeeded(latest); iteration++) {
    const critiques = await runTogether(judges, context, { iteration, verdict, input: [latest], visible: seen })
    approved = critiques.every((critique) => succeeded(critique) && approvedBy(critique.parsed))
    seen = [...start, ...(latest === first ? [first] : [first, latest]), ...critiques]
    if (approved) break
    const refined = await runRequired(refine, context, { iteration, input: [latest], visible: seen })
    if (!succeeded(refined)) break
    latest = refined
    seen = [...start, first, refined]
  }
  const all = await runInOrder(after, context, seen)
  const final = after.length > 0 ? lastSuccess(all) : latest
  // A single round is no loop that could have stopped otherwise.
  return { final, stopReason: approved ? 'approved' : rounds > 1 ? 'max_iterations' : undefined }
}

function rolesOf(definition: FlowDefinition): LoopRoles {
  const roles = loopRoles(definition, JUDGING)
  if (isRoles(roles)) return roles
  throw new OrchestratorError('FLOW_INVALID', roles.map((problem) => `${problem.path}: ${problem.message}`).join('\n'), {
    details: { problems: roles },
  })
}
