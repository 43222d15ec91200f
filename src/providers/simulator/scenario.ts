import type { SimulatedRequest, SimulatedVendor } from './simulated-request.ts'

/** Judgement of a simulated critic or evaluator, in the words of Polyphony's verdicts. */
export interface SimulatedVerdict {
  readonly approved: boolean
  /** 0 to 1. */
  readonly score: number
  readonly issues: readonly string[]
  readonly feedback: string
}

/** One thing the simulator can say. It fits a request when all that it names is found there. */
export interface ScenarioReply {
  /** Words of the system prompt by which a step is known. Without it, the reply fits the bare prompt only. */
  readonly role?: string
  /** Phrases that the messages hold. */
  readonly when?: readonly string[]
  /** Only for requests in this vendor's format. */
  readonly vendor?: SimulatedVendor
  readonly says: string | SimulatedVerdict | ((request: SimulatedRequest) => string)
  /** The verdict comes as JSON that a strict reader refuses and a repair can read. */
  readonly broken?: true
  /** The same request is refused once with 429 before it is answered. */
  readonly rateLimited?: true
}

/** Invented answers to one prompt through all steps of one flow. Keyed by what requests say, so parallel and resumed runs see the same. */
export interface SimulatedScenario {
  /** Template that shows it. */
  readonly template: string
  /** The prompt to run it with. */
  readonly prompt: string
  /** Lower-case words of the prompt by which a request is known to belong here. */
  readonly topic: string
  /** The first one that fits is said: those with a role before those without. */
  readonly replies: readonly ScenarioReply[]
}

/** One text of a panel as the judge sees it. */
export interface PanelAnswer {
  readonly label: string
  readonly text: string
}

/** The anonymous answers in a judge's prompt, in order: `Answer A:` and what follows it. */
export const panelAnswers = (prompt: string): readonly PanelAnswer[] =>
  prompt
    .split(/^(?=Answer [A-Z]:$)/m)
    .filter((part) => /^Answer [A-Z]:$/m.test(part.slice(0, 10)))
    .map((part) => ({ label: part.slice('Answer '.length, 'Answer A'.length), text: part }))

/** `A`, `A and C` or `A, B and C`. */
export const listed = (labels: readonly string[]): string =>
  labels.length < 2 ? labels.join('') : `${labels.slice(0, -1).join(', ')} and ${labels.at(-1)}`
