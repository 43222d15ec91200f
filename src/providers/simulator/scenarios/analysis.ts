import type { SimulatedScenario } from '../scenario.ts'

/** A claim that takes a correlation for a cause. Each analysis adds an aspect that the previous one could not know. */
export const analysisScenario: SimulatedScenario = {
  template: 'analysis',
  prompt:
    'Analyse this claim: "We changed our logo in May and sold 20% more in June, so the new logo works. Everyone in the team agrees, and our main competitor changed its logo last year too."',
  topic: 'so the new logo works',
  replies: [
    {
      role: 'You extract the facts',
      says: `F1 The logo was changed in May. [stated as fact]
F2 Sales in June were 20% higher. [stated as fact]
F3 The new logo works. [opinion]
F4 Everyone in the team agrees. [stated as fact]
F5 The main competitor changed its logo last year. [stated as fact]
F6 Nothing else that moves sales changed between May and June. [assumed without saying so]

Not said: higher than what (May, or June of last year), in money or in pieces, what else happened in June, and how the competitor fared.`,
    },
    {
      role: 'You examine the reasoning',
      says: `Main claim: the new logo caused the rise in sales (F3).
F1 and F2 to F3: does not follow. Sequence is taken for cause; the step needs F6, which nobody states or shows.
F4 to F3: does not follow. Agreement of those who made the change is no evidence of its effect.
F5 to F3: does not follow. That a competitor did something says nothing of its result.

The strongest objection: if June is always better than May, the rise would have come with the old logo too.`,
    },
    {
      role: 'You assess the credibility',
      says: `F1 well supported: the speaker decided it.
F2 plausible, but without a basis of comparison; the books would settle it.
F3 doubtful: no support left after the examination of the logic.
F4 plausible and without weight: the team has an interest in the answer.
F5 plausible; cannot be judged from here, and not needed.
F6 doubtful: prices, season and advertising rarely stand still for a month; last year's June would settle it.`,
    },
    {
      role: 'You write the synthesis',
      says: `The rise in sales may be real; that the logo caused it is not shown. Rely on the dates and, once its basis is named, on the figure; do not rely on the conclusion.

The claim takes "after" for "because of". It would hold only if nothing else changed, which is assumed and improbable. The agreement of the team and the example of the competitor add no evidence.

What would decide it: June of last year for comparison, prices and advertising of both months, and, if possible, sales in a place where the old logo is still in use.

Confidence: high that the conclusion does not follow; low about whether the logo helped.`,
    },
  ],
}
