import type { SimulatedScenario } from '../scenario.ts'

/**
 * The draft has one false sentence. The critic, rate-limited once, finds it, the revision corrects it, the next round
 * approves.
 */
export const critiqueScenario: SimulatedScenario = {
  template: 'critique',
  prompt: 'Explain in five sentences why the sky is blue.',
  topic: 'why the sky is blue',
  replies: [
    {
      role: 'You review a draft',
      when: ['mirrors like a giant ceiling'],
      rateLimited: true,
      says: {
        approved: false,
        score: 0.4,
        issues: [
          '"The sky takes its colour from the oceans, whose blue surface it mirrors" is false: the sky is as blue over a desert as over the sea. Say instead that molecules of air scatter short, blue waves of light far more than long, red ones (Rayleigh scattering), so that blue reaches us from every direction.',
          '"That is why the sky looks deepest on clear days" rests on the false sentence and no longer follows. Connect it with the scattering, or use the sentence for it.',
        ],
        feedback:
          'Five sentences, as asked, and the opening and the sunset are right. Optional: begin with the question a child would ask.',
      },
    },
    {
      role: 'You review a draft',
      says: {
        approved: true,
        score: 0.95,
        issues: [],
        feedback: 'Correct, complete, five sentences. Optional: "countless" could go.',
      },
    },
    {
      role: 'You revise a draft',
      says: `Sunlight looks white, but it is a mixture of all colours of the rainbow. On its way to us it passes through the atmosphere, where it meets countless molecules of air. These molecules scatter short, blue waves of light far more strongly than long, red ones, an effect called Rayleigh scattering. So on a clear day blue light reaches our eyes from every part of the sky, not only from the direction of the sun. At sunset the light travels a longer way through the air, most of the blue is scattered out of its path, and what is left looks orange and red.`,
    },
    {
      says: `Sunlight looks white, but it is a mixture of all colours of the rainbow. On its way to us it passes through the atmosphere, where it meets countless molecules of air. The sky takes its colour from the oceans, whose blue surface it mirrors like a giant ceiling. That is why the sky looks deepest on clear days. At sunset the light travels a longer way through the air, and the sky turns orange and red.`,
    },
  ],
}
