import type { SimulatedScenario } from '../scenario.ts'

/**
 * Two searches, a report with one statement that no page supports, a check that refuses it, an answer without it. The
 * simulator searches nothing: the pages are invented, and their addresses stand in the notes alone.
 */
export const researchScenario: SimulatedScenario = {
  template: 'research',
  prompt: 'When did the first transatlantic telegraph cable carry messages, and why did it fail?',
  topic: 'first transatlantic telegraph cable',
  replies: [
    {
      role: 'You plan a research',
      says: JSON.stringify({
        A: 'On which dates did the first transatlantic telegraph cable carry its first and its last message?',
        B: 'What caused the first transatlantic telegraph cable to fail?',
      }),
    },
    {
      role: 'You research a part of a question',
      vendor: 'anthropic',
      says: `The insulation of the cable was damaged in places before it was laid. [https://example.org/cable-inquiry]
The electrician Whitehouse put about 2,000 volts on it, which broke the insulation down. [https://example.org/cable-inquiry]
Not found: a measurement of the voltage made at the time.`,
    },
    {
      role: 'You research a part of a question',
      says: `The first official message was sent on 16 August 1858. [https://example.com/atlantic-cable]
The cable carried messages until about three weeks later and then no more. [https://example.com/atlantic-cable]`,
    },
    {
      role: 'You write a report on a question',
      says: `The cable carried its first official message on 16 August 1858 [1] and failed about three weeks later [1]. Its insulation was damaged before it was laid [2], and about 2,000 volts broke it down [2]. Sharks had bitten it as well.`,
    },
    {
      role: 'You check the facts of a report',
      says: `"Sharks had bitten it as well.": refused. It bears no number, and no note says so.
All other statements are in the notes with the source that they cite.
Refused: 1`,
    },
    {
      role: 'You make an answer from a report',
      says: `## Answer
The cable carried its first official message on 16 August 1858 [1] and failed about three weeks later [1]. Its insulation was damaged before it was laid [2], and about 2,000 volts broke it down [2].

## Open
Whether animals damaged the cable: no source says so.

## Sources
[1] Atlantic cable: https://example.com/atlantic-cable
[2] Inquiry into the cable: https://example.org/cable-inquiry`,
    },
  ],
}
