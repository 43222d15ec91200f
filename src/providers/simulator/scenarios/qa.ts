import type { SimulatedScenario } from '../scenario.ts'

/**
 * A clear text with one wrong number. The clarity check passes, the accuracy check fails, the final step corrects the
 * number.
 */
export const qaScenario: SimulatedScenario = {
  template: 'qa',
  prompt: 'Explain the 3-2-1 backup rule to a new colleague in one paragraph.',
  topic: '3-2-1 backup rule',
  replies: [
    {
      role: 'You check a text for accuracy',
      says: `1. Three copies, the original included: correct.
2. Two different kinds of media: correct.
3. "Keep two of the copies away from the building": incorrect. The last number of the rule is 1: one copy is kept off-site.
4. Trying to restore: not part of the rule, but correct advice.
No part of the task was left out.
Errors: 1`,
    },
    {
      role: 'You check a text for clarity',
      says: `"so that one fault cannot hit both": "both" could mean the backups or the media. Write "both media".
Optional: put the three numbers at the beginning of their sentences.
Obstacles: 1`,
    },
    {
      role: 'You give the final verdict',
      says: `## Verdict
PASS WITH CHANGES: one number of the rule is wrong, everything else is right and easy to follow.

## Findings
1. "Keep two of the copies away from the building" must be one copy. Confirmed.
2. "both" is unclear. Confirmed, minor.

## Text
The 3-2-1 rule says how to keep data so that no single accident can destroy it. Keep three copies of everything: the original and two backups. Store them on two different kinds of media, for example a disk and a tape, so that one fault cannot hit both media. Keep one copy away from the building, so that a fire cannot take them all. And try from time to time whether a backup can really be restored.`,
    },
    {
      says: 'The 3-2-1 rule says how to keep data so that no single accident can destroy it. Keep three copies of everything: the original and two backups. Store them on two different kinds of media, for example a disk and a tape, so that one fault cannot hit both. Keep two of the copies away from the building, so that a fire cannot take them all. And try from time to time whether a backup can really be restored.',
    },
  ],
}
