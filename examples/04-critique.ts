import { createCritiqueFlow, createPolyphony } from 'polyphony'
import { type ExampleOptions, runDirectly } from './example.ts'

/** One model writes, a model of another vendor reviews, and the first one revises its text. */
export async function main({ log = console.log, real = false }: ExampleOptions = {}) {
  const polyphony = await createPolyphony({ database: 'memory://', simulator: !real })
  const { orchestrator, conversations, dataSharing } = polyphony
  const thread = await conversations.createThread('ada')
  // The critic reads the draft, and the writer reads the critique.
  await dataSharing.set('ada', 'anthropic', { allowCrossProviderContext: true })
  await dataSharing.set('ada', 'openai', { allowCrossProviderContext: true })

  const critique = createCritiqueFlow('openai', 'gpt-6-sol', 'anthropic', 'claude-opus-5-5')
  const flow = await orchestrator.createFlow(thread.id, 'ada', critique)
  const result = await orchestrator.executeFlow(flow.id, 'ada', {
    input: 'Explain in five sentences why the sky is blue.',
    onUpdate(update) {
      if (update.type === 'step_start') log(`${update.stepId}: ${update.data.provider} starts`)
      if (update.type === 'step_complete') log(`${update.stepId}: ${update.data.output}\n`)
    },
  })
  await polyphony.close()
  return result
}

await runDirectly(import.meta.url, main)
