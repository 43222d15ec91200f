import * as z from 'zod'
import { isApproved, scoreOf } from '../domain/answers/verdict.ts'
import type { FlowDefinition } from '../domain/definition/flow-definition.ts'
import type { StepResult } from '../domain/execution/step-result.ts'
import type { StepAction, StopReason } from '../domain/vocabulary.ts'
import { isWaitingStep } from '../domain/waiting/waiting-steps.ts'
import type { Executor, ExecutorContext, ExecutorResult } from './executor.ts'
import { getLoopRoles, idleSteps, isRoles, type LoopRoles, loopInputs, loopNearest, loopRoles, loopSteps } from './loop-roles.ts'
import { editOf, lastOf, lastSuccess, readyOrSkipped, required, runIfReady, runInOrder, succeeded } from './step-outcome.ts'

export const refinementSettings = z.strictObject({
  /** Maximum number of refinements, 1 to 100; default 3. Each draft is scored, the last one too. */
  maxIterations: z.number().int().min(1).max(100).default(3),
  /** Score, 0 to 1, at which a draft is good enough; default 0.8. */
  qualityThreshold: z.number().min(0).max(1).default(0.8),
  /**
   * A round that raises the best score by less than this, 0 to 1, counts as no progress; default 0.01 where patience is
   * given.
   */
  minImprovement: z.number().min(0).max(1).optional(),
  /**
   * Rounds without progress after which the loop ends; default 2 if minImprovement is given. Without both, the loop
   * never ends for lack of progress.
   */
  patience: z.number().int().min(1).optional(),
})

declare module '../domain/definition/flow-definition.ts' {
  interface FlowTypeSettings {
    refinement: z.input<typeof refinementSettings>
  }
}

const REVIEW_ACTIONS: readonly StepAction[] = ['evaluate', 'critique', 'validate', 'approve']

/**
 * Runs a draft, then evaluates and refines it until it is good enough. The output is the draft with the best score, not
 * the last one. Approve steps between draft and refinement ask a person about each draft that the evaluation does not
 * accept; the first approved draft is the output. Without an evaluation only the person decides.
 */
export const refinementExecutor: Executor = {
  type: 'refinement',
  settings: refinementSettings,
  forwardReferences: true,
  check: (definition) => {
    const roles = loopRoles(definition, REVIEW_ACTIONS)
    if (!isRoles(roles)) return roles
    const { evaluators } = toReviews(roles)
    return evaluators.slice(1).map((step) => ({
      path: `steps[${definition.steps.indexOf(step)}].action`,
      message: 'expected one reviewing step between draft and refine, found another one',
    }))
  },
  calls: (definition) => {
    const roles = getLoopRoles(definition, REVIEW_ACTIONS)
    const { maxIterations } = settingsOf(definition)
    const idle = idleSteps(definition, roles)
    return definition.steps.map((step) => {
      if (step === roles.refine) return { stepId: step.id, min: 0, max: maxIterations }
      const min = idle.has(step) ? 0 : 1
      return { stepId: step.id, min, max: roles.reviewers.includes(step) ? maxIterations + 1 : 1 }
    })
  },
  loop: (definition) => loopSteps(getLoopRoles(definition, REVIEW_ACTIONS)),
  verdicts: (definition) => toReviews(getLoopRoles(definition, REVIEW_ACTIONS)).evaluators.map(({ id }) => id),
  implicitInputs: (definition) => loopInputs(getLoopRoles(definition, REVIEW_ACTIONS)),
  nearest: (definition) => loopNearest(definition, getLoopRoles(definition, REVIEW_ACTIONS), { reviewsAreSeen: false }),
  // The best draft is known only when all are scored.
  answers: (definition) => lastOf(getLoopRoles(definition, REVIEW_ACTIONS).after),
  run: runRefinement,
}

/** The model that scores each draft, and the steps at which a person decides about drafts that are not good enough. */
const toReviews = ({ reviewers }: LoopRoles) => ({
  evaluators: reviewers.filter((step) => !isWaitingStep(step)),
  approvals: reviewers.filter(isWaitingStep),
})

async function runRefinement(definition: FlowDefinition, context: ExecutorContext): Promise<ExecutorResult> {
  const roles = getLoopRoles(definition, REVIEW_ACTIONS)
  const { before, draft, refine, after } = roles
  const { evaluators, approvals } = toReviews(roles)
  const settings = settingsOf(definition)
  const start = await runInOrder(definition, before, context)
  const best = bestSoFar(await runIfReady(definition, draft, context, { visible: start }))
  let stopReason: StopReason | undefined
  for (let iteration = 1; !stopReason && succeeded(best.latest); iteration++) {
    const seen = best.latest === best.first ? [...start, best.first] : [...start, best.first, best.latest]
    const reviewed = [...seen]
    for (const evaluate of evaluators) {
      if (!(await readyOrSkipped(definition, evaluate, context, { iteration, input: [best.latest], visible: seen }))) {
        stopReason = 'no_verdict'
        break
      }
      const verdict = await context.runStep(evaluate, { iteration, verdict: 'ask', input: [best.latest], visible: seen })
      if (limited(verdict)) stopReason = 'limit'
      else stopReason = best.recordScore(scoreOf(required(evaluate, verdict).parsed), iteration, settings)
      reviewed.push(verdict)
    }
    for (const approve of stopReason ? [] : approvals) {
      if (!(await readyOrSkipped(definition, approve, context, { iteration, input: [best.latest], visible: reviewed }))) continue
      const decision = await context.runStep(approve, { iteration, input: [best.latest], visible: reviewed })
      reviewed.push(decision)
      if (limited(decision)) stopReason = 'limit'
      else if (succeeded(required(approve, decision)) && isApproved(decision.parsed)) {
        best.accept(editOf([decision]) ?? best.latest)
        stopReason = 'approved'
      }
      if (stopReason) break
    }
    if (evaluators.length === 0 && iteration > settings.maxIterations) stopReason ??= 'max_iterations'
    if (stopReason) break
    if (!(await readyOrSkipped(definition, refine, context, { iteration, input: [best.latest], visible: reviewed }))) break
    const refined = await context.runStep(refine, { iteration, input: [best.latest], visible: reviewed })
    if (limited(refined)) stopReason = 'limit'
    else if (succeeded(required(refine, refined))) best.add(refined)
    else break
  }
  return { final: lastSuccess(await runInOrder(definition, after, context, [...start, best.result()])), stopReason }
}

/** Tracks the latest and the best draft, and the rounds without progress. */
function bestSoFar(first: StepResult) {
  let latest = first
  let best: { readonly draft: StepResult; readonly score: number } | undefined
  let roundsWithoutProgress = 0
  return {
    first,
    get latest() {
      return latest
    },
    add(draft: StepResult) {
      latest = draft
    },
    /** A person has approved this draft, whatever its score is. */
    accept(draft: StepResult) {
      best = { draft, score: 1 }
    },
    /** Records the score of the latest draft. Returns the reason to end the loop, or `undefined` to continue. */
    recordScore(score: number | undefined, iteration: number, settings: Settings): StopReason | undefined {
      if (score === undefined) return 'no_verdict'
      const gain = best === undefined ? Number.POSITIVE_INFINITY : score - best.score
      if (gain > 0) best = { draft: latest, score }
      roundsWithoutProgress = gain < settings.minImprovement ? roundsWithoutProgress + 1 : 0
      if (score >= settings.qualityThreshold) return 'threshold'
      if (iteration > settings.maxIterations) return 'max_iterations'
      return roundsWithoutProgress >= settings.patience ? 'plateau' : undefined
    },
    /** The draft with the best score; the latest one where none was scored. */
    result: () => best?.draft ?? latest,
  }
}

interface Settings {
  readonly maxIterations: number
  readonly qualityThreshold: number
  readonly minImprovement: number
  readonly patience: number
}

function settingsOf(definition: FlowDefinition): Settings {
  const { maxIterations = 3, qualityThreshold = 0.8, minImprovement, patience } = definition.refinement ?? {}
  const plateau = minImprovement !== undefined || patience !== undefined
  return {
    maxIterations,
    qualityThreshold,
    minImprovement: minImprovement ?? 0.01,
    patience: plateau ? (patience ?? 2) : Number.POSITIVE_INFINITY,
  }
}

const limited = (result: StepResult): boolean => result.error?.code === 'LIMIT_EXCEEDED'
