import { createPolyphony, createSequentialAnalysisFlow, type FlowUpdate } from 'polyphony'
import { type ExampleOptions, runDirectly } from './example.ts'

const CLAIM = 'We changed our logo in May and sold 20% more in June, so the new logo works.'

/**
 * Two ways to receive updates: a callback in the same process, and a stream that can be resumed after an interruption.
 */
export async function main({ log = console.log, real = false }: ExampleOptions = {}) {
  const polyphony = await createPolyphony({ database: 'memory://', simulator: !real })
  const { orchestrator, conversations } = polyphony
  const thread = await conversations.createThread('ada')
  const flow = await orchestrator.createFlow(thread.id, 'ada', createSequentialAnalysisFlow())

  let text = ''
  await orchestrator.startFlow(flow.id, 'ada', {
    input: CLAIM,
    // Called with every update at once, before it is stored.
    onUpdate(update) {
      if (update.type === 'step_progress' && update.data.kind === undefined) text += update.data.delta
    },
  })

  // A remote client receives stored updates. Its connection is lost after five of them.
  const received: FlowUpdate[] = []
  for await (const update of orchestrator.streamFlow(flow.id, 'ada')) {
    received.push(update)
    if (received.length === 5) break
  }
  // It resumes after the last sequence number it received, without gaps or duplicates. The flow is not affected.
  for await (const update of orchestrator.streamFlow(flow.id, 'ada', { afterSeq: received.at(-1)?.seq })) {
    received.push(update)
    if (update.type !== 'step_progress') log(`${update.seq} ${update.type} ${update.stepId ?? ''}`)
  }
  log(`${received.length} updates, ${text.length} characters of text`)
  await polyphony.close()
  return { received, text }
}

await runDirectly(import.meta.url, main)
