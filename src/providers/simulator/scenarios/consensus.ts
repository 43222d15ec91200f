import { listed, panelAnswers, type SimulatedScenario } from '../scenario.ts'
import type { SimulatedRequest } from '../simulated-request.ts'

const MINORITY = 'Yes, 2100 will be a leap year'

/**
 * Three independent proposals, one with half of the rule. The synthesis counts them, checks the reasons and names the
 * minority view.
 */
export const consensusScenario: SimulatedScenario = {
  template: 'consensus',
  prompt: 'Will the year 2100 be a leap year?',
  topic: 'the year 2100 be a leap year',
  replies: [
    {
      role: 'Answer the question on your own judgement',
      vendor: 'google',
      says: `${MINORITY}: it is divisible by 4, and every fourth year has 366 days.\nAgainst it: there may be an exception for centuries that I do not recall.\nSure: medium.`,
    },
    {
      role: 'Answer the question on your own judgement',
      vendor: 'anthropic',
      says: 'No. In the Gregorian calendar a year that ends a century is a leap year only if it can be divided by 400, and 2100 cannot.\nAgainst it: in the Julian calendar, which some churches keep, 2100 is a leap year.\nSure: high.',
    },
    {
      role: 'Answer the question on your own judgement',
      says: 'No, 2100 will have 365 days. It is divisible by 100 but not by 400, like 1900, which had no 29 February either.\nAgainst it: the plain rule of every fourth year.\nSure: high.',
    },
    { role: 'You bring several independent answers', says: agree },
  ],
}

function agree({ prompt }: SimulatedRequest): string {
  const answers = panelAnswers(prompt)
  const minority = answers.filter(({ text }) => text.includes(MINORITY)).map(({ label }) => label)
  const majority = answers.filter(({ text }) => !text.includes(MINORITY)).map(({ label }) => label)
  return `## Consensus
No, 2100 will not be a leap year. The Gregorian calendar leaves out the leap day in years divisible by 100 unless they are divisible by 400; 2000 kept it, 1900 did not, 2100 will not.

## Support
${majority.length} of ${answers.length}${majority.length > 0 ? `: ${listed(majority)}` : ''}. Their reason holds: it is the rule of the calendar itself, not only the larger number of votes.

## Minority view
${
  minority.length > 0
    ? `${listed(minority)}: yes, because 2100 is divisible by 4. This did not prevail because it is only the first half of the rule, and the answer itself suspects an exception for centuries. It would be right in the Julian calendar.`
    : 'none'
}`
}
