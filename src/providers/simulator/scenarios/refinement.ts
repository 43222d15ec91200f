import type { SimulatedScenario } from '../scenario.ts'

const SECOND = 'folds in ten seconds to the size of a suitcase'
const THIRD = 'Fold it in ten seconds'

/** Three drafts with rising scores. The second verdict is invalid JSON that can be repaired. */
export const refinementScenario: SimulatedScenario = {
  template: 'refinement',
  prompt: 'Write a product description of about 50 words for a folding bicycle for commuters.',
  topic: 'folding bicycle for commuters',
  replies: [
    {
      role: 'You score a draft',
      when: [THIRD],
      says: {
        approved: true,
        score: 0.92,
        issues: [],
        feedback: 'Concrete, checkable and close to the reader; keep it. Optional: name the price.',
      },
    },
    {
      role: 'You score a draft',
      when: [SECOND],
      broken: true,
      says: {
        approved: false,
        score: 0.74,
        issues: [
          'The description speaks about the bicycle and never about the reader. Begin with the moment of the commute that it makes easier.',
          '"high-quality components" says nothing. Name one: the gears, the brakes or the frame.',
        ],
        feedback: 'The figures are good and must stay. Change the point of view first.',
      },
    },
    {
      role: 'You score a draft',
      says: {
        approved: false,
        score: 0.38,
        issues: [
          '"best folding bicycle in the world" is an empty claim. Replace it by a fact: how fast it folds, how small, how heavy.',
          '"many great features and excellent quality" names no feature. Say which ones matter on a commute.',
          'The last sentence repeats that the bicycle folds. Use the words for the reader instead.',
        ],
        feedback: 'The length is right. Change empty praise into facts first.',
      },
    },
    {
      role: 'You improve a draft',
      when: [SECOND],
      says: `Your train leaves in two minutes? ${THIRD}, carry its eleven kilos up the stairs, and it waits under your seat like a suitcase. Eight gears take the hills out of the last mile, disc brakes take the fear out of rain. Arrive awake, park it beside your desk, and never look for a lock again.`,
    },
    {
      role: 'You improve a draft',
      says: `This folding bicycle ${SECOND} and weighs eleven kilos, light enough for stairs and trains. Eight gears and high-quality components make it ready for every commute. It fits under a desk or a train seat, so it needs no lock and no parking space. A bicycle for people who travel to work every day.`,
    },
    {
      says: 'Our folding bicycle is the best folding bicycle in the world. It is very good for commuters and for everybody else. It has many great features and excellent quality. You will love it. Buy it today and experience a completely new feeling of riding a bicycle that can be folded.',
    },
  ],
}
