import { createPolyphony, createRefinementFlow } from 'polyphony'
import { z } from 'zod'
import { type ExampleOptions, runDirectly } from './example.ts'

const verdict = z.object({ score: z.number() })

/** A draft is scored and improved until it is good enough. The result is the draft with the best score. */
export async function main({ log = console.log, real = false }: ExampleOptions = {}) {
  const polyphony = await createPolyphony({ database: 'memory://', simulator: !real })
  const { orchestrator, conversations } = polyphony
  const thread = await conversations.createThread('ada')

  const flow = await orchestrator.createFlow(
    thread.id,
    'ada',
    createRefinementFlow({ maxIterations: 4, threshold: 0.9, minImprovement: 0.01, patience: 2 }),
  )
  const result = await orchestrator.executeFlow(flow.id, 'ada', {
    input: 'Write a product description of about 50 words for a folding bicycle for commuters.',
  })

  // An evaluation that cannot be parsed has no `parsed` and counts as no score, never as 0.
  const scores = result.steps
    .filter(({ action }) => action === 'evaluate')
    .map(({ parsed }) => verdict.safeParse(parsed).data?.score)
  log(`Scores of the drafts: ${scores.join(', ')}. Reason for the end: ${result.stopReason}.`)
  log(result.finalOutput)
  await polyphony.close()
  return { result, scores }
}

await runDirectly(import.meta.url, main)
