import type { StepAction } from '../domain/vocabulary.ts'
import { fence, type MarkerSource } from './fence.ts'

/** A labelled text that is appended to a prompt. */
export interface PromptSection {
  readonly label: string
  readonly text: string
}

const INSTRUCTIONS: Readonly<Record<StepAction, string>> = {
  generate: 'Answer the request below.',
  critique:
    'Criticise the text below against the request. Name each weakness with the place it is in, why it matters and how to mend it. Do not rewrite the text.',
  refine:
    'Write an improved version of the text below: mend what the criticism names, keep what is good. Answer with the improved text alone.',
  summarize: 'Summarise the text below. Keep what a reader must know, leave out the rest, add nothing of your own.',
  analyze: 'Analyse the text below. Say what it claims, what supports each claim, and what is missing.',
  compare: 'Compare the texts below. Say where they agree, where they differ, which is better in what, and why.',
  evaluate: 'Judge how well the text below answers the request. Give your reasons first, then the score.',
  validate: 'Check whether the text below is correct and complete. Name every error you find; say so when there is none.',
  extract: 'Extract the information that the request asks for from the text below. Take only what is there.',
  transform: 'Transform the text below as the request asks. Keep its meaning. Answer with the result alone.',
  // No model gets a prompt of these steps.
  approve: '',
  wait: '',
}

/** The instruction of a step that has no prompt of its own. */
export const actionPrompt = (action: StepAction): string => INSTRUCTIONS[action]

/**
 * The user message of a step: the prompt, then the inputs that it does not mention itself. `original` is the user's own
 * prompt and is appended unchanged; `inputs` are texts of models or files and are fenced.
 */
export function composeUserContent(
  {
    prompt,
    original,
    inputs,
  }: { readonly prompt: string; readonly original?: string; readonly inputs: readonly PromptSection[] },
  random?: MarkerSource,
): string {
  const sections = [prompt]
  if (original !== undefined && original !== prompt) sections.push(`The request:\n${original}`)
  for (const { label, text } of inputs) sections.push(fence(text, label, random))
  return sections.filter((section) => section !== '').join('\n\n')
}
