import { createPolyphony } from 'polyphony'
import { type ExampleOptions, runDirectly } from './example.ts'

/** A person decides about a draft after its critique, and may replace its text. */
export async function main({ log = console.log, real = false }: ExampleOptions = {}) {
  const polyphony = await createPolyphony({ database: 'memory://', simulator: !real })
  const { orchestrator, conversations } = polyphony
  const thread = await conversations.createThread('ada')
  const flow = await orchestrator.createFlow(thread.id, 'ada', {
    name: 'reviewed answer',
    type: 'sequential',
    steps: [
      { id: 'draft', model: 'openai/gpt-6-sol', action: 'generate' },
      { id: 'critique', model: 'openai/gpt-6-luna', action: 'critique', inputFrom: 'draft' },
      {
        id: 'decision',
        action: 'approve',
        dependsOn: ['draft', 'critique'],
        approval: { prompt: 'Publish the draft?', show: '{{ steps.draft.output }}', timeoutMs: 86_400_000, onTimeout: 'reject' },
      },
      { id: 'publish', model: 'openai/gpt-6-luna', action: 'summarize', inputFrom: 'decision' },
    ],
  })

  // The flow holds nothing while it waits: this process could end here, and another one decide and go on.
  const ended = orchestrator.executeFlow(flow.id, 'ada', { input: 'Explain in five sentences why the sky is blue.' })
  for await (const update of orchestrator.streamFlow(flow.id, 'ada')) if (update.type === 'flow_paused') break
  const waiting = await orchestrator.listWaiting('ada')
  for (const { path, prompt, show, hash } of waiting) {
    log(`${path} asks: ${prompt}\n${show}\n`)
    await orchestrator.signal(flow.id, 'ada', path, { approved: true, edit: `${show}\n(approved by Ada)`, hash })
  }

  const result = await ended
  log(`${result.status}: ${result.finalOutput}`)
  await polyphony.close()
  return { waiting, result }
}

await runDirectly(import.meta.url, main)
