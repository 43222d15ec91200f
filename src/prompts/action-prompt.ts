import type { StepAction } from '../domain/vocabulary.ts'
import { fence, type MarkerSource } from './fence.ts'

/** A labelled text that is appended to a prompt. */
export interface PromptSection {
  readonly label: string
  readonly text: string
}

const INSTRUCTIONS: Readonly<Record<StepAction, string>> = {
  generate: 'Answer the request above.',
  critique:
    'Criticise the text above against the request. Name each weakness with the place it is in, why it matters and how to mend it. Do not rewrite the text.',
  refine:
    'Write an improved version of the text above: mend what the criticism names, keep what is good. Answer with the improved text alone.',
  summarize: 'Summarise the text above. Keep what a reader must know, leave out the rest, add nothing of your own.',
  analyze: 'Analyse the text above. Say what it claims, what supports each claim, and what is missing.',
  compare: 'Compare the texts above. Say where they agree, where they differ, which is better in what, and why.',
  evaluate: 'Judge how well the text above answers the request. Give your reasons first, then the score.',
  validate: 'Check whether the text above is correct and complete. Name every error you find; say so when there is none.',
  extract: 'Extract the information that the request asks for from the text above. Take only what is there.',
  transform: 'Transform the text above as the request asks. Keep its meaning. Answer with the result alone.',
  // No model gets a prompt of these steps.
  run: '',
  approve: '',
  wait: '',
}

/** The instruction of a step that has no prompt of its own. It stands after what it names, see `composeUserContent`. */
export const actionPrompt = (action: StepAction): string => INSTRUCTIONS[action]

/** The parts of the user message of a step. */
export interface UserContentParts {
  readonly prompt: string
  /** The user's own prompt, added unchanged. */
  readonly original?: string
  /** Texts of models or files, added in fences. */
  readonly inputs: readonly PromptSection[]
  /**
   * Whether the prompt comes last, as the instruction of a step without one does: requests with equal inputs then begin
   * alike, and vendors can cache that beginning.
   */
  readonly promptLast?: boolean
}

/** The user message of a step: the prompt, then the request and the inputs that it does not mention itself. */
export function composeUserContent({ prompt, original, inputs, promptLast }: UserContentParts, markers?: MarkerSource): string {
  const sections = inputs.map(({ label, text }) => fence(text, label, markers))
  if (original !== undefined && original !== prompt) sections.unshift(`The request:\n${original}`)
  if (promptLast) sections.push(prompt)
  else sections.unshift(prompt)
  return sections.filter((section) => section !== '').join('\n\n')
}
