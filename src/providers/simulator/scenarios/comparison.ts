import { listed, type PanelAnswer, panelAnswers, type SimulatedScenario } from '../scenario.ts'
import type { SimulatedRequest } from '../simulated-request.ts'

const WRONG = 'because 1.10 minus 1.00 is 0.10'

/** Three answers, one of them wrong. The reviewer calculates the result and finds the wrong one at any position. */
export const comparisonScenario: SimulatedScenario = {
  template: 'comparison',
  prompt: 'A bat and a ball cost 1.10 euros together. The bat costs 1.00 euro more than the ball. How much does the ball cost?',
  topic: 'a bat and a ball cost',
  replies: [
    { role: 'You judge several answers', says: compare },
    {
      vendor: 'openai',
      says: 'The ball costs 0.05 euros.\n\nLet x be the price of the ball. The bat costs x + 1.00, together they cost 2x + 1.00 = 1.10, so 2x = 0.10 and x = 0.05.',
    },
    {
      vendor: 'anthropic',
      says: '5 cents.\n\nCheck: the bat then costs 1.05 euros, which is exactly 1.00 euro more than the ball, and 1.05 + 0.05 = 1.10. The tempting answer of 10 cents fails this check: a bat for 1.10 would bring the total to 1.20.',
    },
    { vendor: 'google', says: `The ball costs 0.10 euros, ${WRONG}.` },
  ],
}

function compare({ prompt }: SimulatedRequest): string {
  const answers = panelAnswers(prompt)
  const wrong = answers.filter(({ text }) => text.includes(WRONG))
  const right = answers.filter((answer) => !wrong.includes(answer))
  const best = right.find(({ text }) => text.includes('Check:')) ?? right[0]
  return `## Comparison
${answers.map((answer) => block(answer, wrong.includes(answer))).join('\n\n')}

${agreement(right, wrong)}

## Result
${best ? `Best: Answer ${best.label}, because it gives the right price and a check that anyone can repeat.` : 'Best: none, because no answer passes the check.'}

The ball costs 0.05 euros. If the ball costs x, the bat costs x + 1.00 and both cost 2x + 1.00 = 1.10, so x = 0.05. Check: 1.05 is 1.00 more than 0.05, and 1.05 + 0.05 = 1.10.`
}

const block = ({ label, text }: PanelAnswer, isWrong: boolean): string => {
  if (isWrong) {
    return `**Answer ${label}**
Strengths: short.
Weaknesses: never checks its result against the second condition.
Errors: "${WRONG}". With a ball for 0.10 the bat would cost 1.10 and both 1.20, not 1.10.`
  }
  const strength = text.includes('Check:') ? 'right, with a check of both conditions' : 'right, derived from the two conditions'
  return `**Answer ${label}**\nStrengths: ${strength}.\nWeaknesses: none that matter.\nErrors: none found.`
}

function agreement(right: readonly PanelAnswer[], wrong: readonly PanelAnswer[]): string {
  const labels = (answers: readonly PanelAnswer[]) => listed(answers.map(({ label }) => label))
  if (wrong.length === 0) return 'All answers agree on 0.05 euros, and the equations confirm it.'
  if (right.length === 0) return 'All answers agree on 0.10 euros, and all are wrong: agreement is no proof.'
  return `${labels(right)} and ${labels(wrong)} contradict each other. The two conditions decide: only 0.05 euros satisfies both.`
}
