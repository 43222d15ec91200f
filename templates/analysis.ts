import type { WritableFlowDefinition } from '../src/domain/definition/flow-definition.ts'
import { defaultModel } from './default-models.ts'
import { defineTemplate, modelChoice, parameter, positionalModel } from './template.ts'

/**
 * Analyses a text or claim in four steps: facts, logic, credibility, synthesis.
 *
 * - From Chain-of-Verification (arXiv 2309.11495): claims are listed first and then checked one by one; the text is not
 *   assessed as a whole.
 * - Each step receives the original text again beside the earlier findings, so that a mistake of an early step can be
 *   corrected and does not become a fact by repetition.
 * - The synthesis must carry open questions and doubts into the result.
 *
 * Data sharing: all steps use one provider by default, so no policy is needed. A `synthesizer` of another provider
 * reads the findings of the analyst and needs `allowCrossProviderContext`.
 */
export const analysisTemplate = defineTemplate({
  name: 'analysis',
  title: 'Sequential analysis',
  description: 'Extracts the facts of a text, examines its logic and credibility, and joins the findings.',
  example:
    'Analyse this claim: "We changed our logo in May and sold 20% more in June, so the new logo works. Everyone in the team agrees, and our main competitor changed its logo last year too."',
  type: 'sequential',
  parameters: {
    analyst: parameter(modelChoice.default(defaultModel('openai')), 'model', 'Does the three analyses.'),
    synthesizer: parameter(modelChoice.optional(), 'model', 'Writes the synthesis. Default: the analyst.'),
  },
  build({ analyst, synthesizer }) {
    return {
      contextPolicy: { maxSharedTokens: 50_000 },
      steps: [
        { id: 'facts', name: 'Facts', ...analyst, action: 'extract', prompt: `${TEXT}\n\n${FACTS}` },
        {
          id: 'logic',
          name: 'Logic',
          ...analyst,
          action: 'analyze',
          prompt: `${TEXT}\n\nThe facts found in it:\n${FOUND.facts}\n\n${LOGIC}`,
        },
        {
          id: 'credibility',
          name: 'Credibility',
          ...analyst,
          action: 'evaluate',
          prompt: `${TEXT}\n\nThe facts found in it:\n${FOUND.facts}\n\nThe examination of its logic:\n${FOUND.logic}\n\n${CREDIBILITY}`,
        },
        {
          id: 'synthesis',
          name: 'Synthesis',
          ...(synthesizer ?? analyst),
          action: 'summarize',
          prompt: `${TEXT}\n\nThe facts found in it:\n${FOUND.facts}\n\nThe examination of its logic:\n${FOUND.logic}\n\nThe assessment of its credibility:\n${FOUND.credibility}\n\n${SYNTHESIS}`,
        },
      ],
    }
  },
})

const TEXT = 'The text to analyse, or the request that contains it:\n{{ original | fence: "text" }}'

const FOUND = {
  facts: '{{ steps.facts.output | fence: "facts" }}',
  logic: '{{ steps.logic.output | fence: "logic" }}',
  credibility: '{{ steps.credibility.output | fence: "credibility" }}',
} as const

const FACTS = `You extract the facts of a text. You judge nothing yet.
List every checkable statement, numbered F1, F2, …, one per line, in the text's own meaning. Mark each as [stated as fact], [estimate], [opinion] or [assumed without saying so].
Note numbers, dates, names and sources exactly. End with what the reader would need to know and the text does not say.`

const LOGIC = `You examine the reasoning of a text. Refer to its facts by number (F1, F2, …); where the list of facts misreads the text, say so and go by the text.
State the main claim in one sentence. Lay out the steps that lead from the facts to it. For each step say whether it follows, and if not, name the gap: missing premise, correlation taken for cause, hasty generalisation, contradiction, circularity, wrong arithmetic.
Name the strongest objection a well-informed opponent would raise.`

const CREDIBILITY = `You assess the credibility of a text, fact by fact (F1, F2, …).
For each: well supported, plausible, doubtful or false, with the reason in one line: known evidence, quality of the source, interest of the author, consistency with other facts.
Do not pretend to have looked anything up. Say "cannot be judged from here" where that is so, and what would settle it.`

const SYNTHESIS = `You write the synthesis of an analysis for a reader who has not seen its parts.
Begin with the conclusion in two or three sentences: what can be relied on, what cannot. Then the reasons: the facts that carry the claim, the flaws of its reasoning, the doubts about its sources.
Where the findings disagree, say so and decide, or leave it open with what is missing to decide. Add nothing that is neither in the text nor in the findings. Give your confidence (low, medium, high) and why.`

export type AnalysisOptions = NonNullable<Parameters<typeof analysisTemplate.create>[0]>

/** Returns the analysis definition. Takes no argument, `('openai', model)` for the analyst, or one options object. */
export function createSequentialAnalysisFlow(options?: AnalysisOptions): WritableFlowDefinition
export function createSequentialAnalysisFlow(provider: string, model: string): WritableFlowDefinition
export function createSequentialAnalysisFlow(first?: AnalysisOptions | string, model?: string): WritableFlowDefinition {
  return analysisTemplate.create(typeof first === 'string' ? { analyst: positionalModel(first, model) } : first)
}
