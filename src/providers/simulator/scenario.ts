import type { SimulatedRequest, SimulatedVendor } from './simulated-request.ts'

/** Verdict of a simulated critic or evaluator, with the fields of Polyphony's verdicts. */
export interface SimulatedVerdict {
  readonly approved: boolean
  /** 0 to 1. */
  readonly score: number
  readonly issues: readonly string[]
  readonly feedback: string
}

/** One reply of the simulator. It matches a request that meets all its conditions. */
export interface ScenarioReply {
  /** Words that a prompt of the request must contain. Absent: it must hold only the prompt of the scenario. */
  readonly role?: string
  /** Phrases that the newest message of the user must contain. */
  readonly when?: readonly string[]
  /** Vendor whose format the request must have. */
  readonly vendor?: SimulatedVendor
  readonly says: string | SimulatedVerdict | ((request: SimulatedRequest) => string)
  /** Whether the verdict is sent as invalid JSON that can be repaired. */
  readonly broken?: true
  /** Whether the request is answered with 429 once before the reply. */
  readonly rateLimited?: true
}

/**
 * Invented answers to one prompt through all steps of one flow. They depend only on the content of requests, so
 * parallel and resumed runs get the same.
 */
export interface SimulatedScenario {
  /** Template that the scenario demonstrates. */
  readonly template: string
  /** The prompt to run the template with. */
  readonly prompt: string
  /** Lower-case words that a request of the scenario contains. */
  readonly topic: string
  /** The first matching one is used, so those with a role must precede those without. */
  readonly replies: readonly ScenarioReply[]
}

/** One text of a panel as shown to the reviewer. */
export interface PanelAnswer {
  readonly label: string
  readonly text: string
}

/** The anonymous answers in a reviewer's prompt, in order. Each starts with a line such as `Answer A:`. */
export const panelAnswers = (prompt: string): readonly PanelAnswer[] =>
  prompt
    .split(/^(?=Answer [A-Z]:$)/m)
    .filter((part) => /^Answer [A-Z]:$/m.test(part.slice(0, 10)))
    .map((part) => ({ label: part.slice('Answer '.length, 'Answer A'.length), text: part }))

/** `A`, `A and C` or `A, B and C`. */
export const listed = (labels: readonly string[]): string =>
  labels.length < 2 ? labels.join('') : `${labels.slice(0, -1).join(', ')} and ${labels.at(-1)}`
