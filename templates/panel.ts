import * as z from 'zod'
import type { Target, WritableFlowStep } from '../src/domain/definition/flow-definition.ts'
import { DEFAULT_PANEL, reviewerFor } from './default-models.ts'
import { type ModelChoice, modelChoices } from './template.ts'

/** Letters that stand for authors wherever one model reads the texts of several. */
export const ANONYMOUS_LABELS = ['A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J'] as const

/** Between 2 and 10 models that answer independently; by default one strong model of each vendor. */
export const panelModels = modelChoices(2, ANONYMOUS_LABELS.length).default([...DEFAULT_PANEL])

/** Members that must answer for the flow to continue. A panel with fewer members needs all of them. */
export const panelQuorum = z.number().int().min(1).max(ANONYMOUS_LABELS.length).default(2)

interface PanelOptions {
  readonly models: readonly Target[]
  readonly quorum: number
  /** Default: a model that is not a member. */
  readonly reviewer: Target | undefined
  /** The step of each member; its id is `stepPrefix` and a letter, its name `memberName` and that letter. */
  readonly member: { readonly stepPrefix: string; readonly memberName: string; readonly system?: string }
  /** The step that reads the answers. */
  readonly review: {
    readonly id: string
    readonly name: string
    readonly system: string
    /** Returns the prompt around the answers of the members, which are Liquid text. */
    readonly prompt: (answers: string) => string
  }
}

interface PanelMember {
  readonly label: string
  readonly target: Target
  readonly stepId: string
}

/**
 * The body of a flow of type `parallel`: members answer the prompt without seeing each other, and a reviewer reads
 * their answers under letters, never under the names of models. Members that fail do not stop the flow while the quorum
 * holds.
 */
export function panel({ models, quorum, reviewer, member, review }: PanelOptions) {
  const members = models.slice(0, ANONYMOUS_LABELS.length).map((target, index): PanelMember => {
    const label = ANONYMOUS_LABELS[index] ?? ''
    return { label, target, stepId: `${member.stepPrefix}${label}` }
  })
  const steps: WritableFlowStep[] = [
    ...members.map(({ label, target: { provider, model }, stepId }) => ({
      id: stepId,
      name: `${member.memberName} ${label}`,
      provider,
      model,
      action: 'generate' as const,
      ...(member.system === undefined ? {} : { system: member.system }),
      prompt: 'original',
    })),
    {
      id: review.id,
      name: review.name,
      ...(reviewer ?? reviewerFor(models)),
      action: 'compare',
      dependsOn: members.map(({ stepId }) => stepId),
      system: review.system,
      prompt: review.prompt(anonymousAnswers(members)),
    },
  ]
  return {
    contextPolicy: { maxSharedTokens: 50_000 },
    parallel: { onFailure: 'continue' as const, minSuccesses: Math.min(quorum, members.length) },
    steps,
  }
}

/**
 * Liquid text with the answers under letters, each fenced as data; a member that gave no answer is named as missing.
 */
const anonymousAnswers = (members: readonly PanelMember[]): string =>
  members
    .map(({ label, stepId }) => {
      const answer = `Answer ${label}:\n{{ steps.${stepId}.output | fence: "answer ${label}" }}`
      return `{% if steps.${stepId}.output %}${answer}{% else %}Answer ${label} is missing: this member of the panel gave no answer. Say so in your result, and count only the answers that are there.{% endif %}`
    })
    .join('\n\n')

/**
 * Options from the positional arguments of a panel's function: the models as a list or comma-separated, and the
 * reviewer.
 */
export const positionalPanel = (models: readonly ModelChoice[] | string, reviewer: ModelChoice | undefined) => ({
  models: typeof models === 'string' ? models : [...models],
  judge: reviewer,
})
