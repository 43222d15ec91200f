import { createConsensusFlow, createPolyphony } from 'polyphony'
import { type ExampleOptions, runDirectly } from './example.ts'

/** Three models answer at the same time; a fourth, which sees no names, writes the consensus. */
export async function main({ log = console.log, real = false }: ExampleOptions = {}) {
  const polyphony = await createPolyphony({ database: 'memory://', simulator: !real })
  const { orchestrator, conversations, dataSharing } = polyphony
  const thread = await conversations.createThread('ada')
  // The chair reads answers of other providers, which the user must allow for its provider.
  await dataSharing.set('ada', 'anthropic', { allowCrossProviderContext: true })

  const panel = createConsensusFlow(
    ['openai/gpt-6-sol', 'anthropic/claude-opus-5-5', 'google/gemini-3.8-flash'],
    'anthropic/claude-sonnet-5',
  )
  const flow = await orchestrator.createFlow(thread.id, 'ada', {
    ...panel,
    // One vendor may fail: two answers are enough for a consensus.
    parallel: { onFailure: 'continue', minSuccesses: 2 },
  })
  const result = await orchestrator.executeFlow(flow.id, 'ada', { input: 'Will the year 2100 be a leap year?' })

  for (const { stepId, provider, executionTime } of result.steps) log(`${stepId} by ${provider} in ${executionTime} ms`)
  log(result.finalOutput)
  await polyphony.close()
  return result
}

await runDirectly(import.meta.url, main)
