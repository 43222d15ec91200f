import { setTimeout as wait } from 'node:timers/promises'
import { createPolyphony, type FlowDefinitionInput, OrchestratorError, type Provider } from 'polyphony'
import { type ExampleOptions, runDirectly } from './example.ts'

/** A provider is one object. This one contacts no service: it reverses the words of a text. */
const mirror: Provider = {
  id: 'mirror',
  kind: 'mirror',
  vendor: 'mirror',
  simulated: false,
  async generate({ model, messages }, { signal, onDelta }) {
    const words = (messages.at(-1)?.content ?? '').split(' ').reverse()
    for (const word of words) {
      await wait(1, undefined, { signal })
      onDelta?.(`${word} `)
    }
    return { text: words.join(' '), model, finishReason: 'stop', usage: { source: 'unknown' }, notes: [] }
  },
}

const definition: FlowDefinitionInput = {
  name: 'there and back',
  type: 'sequential',
  // The prompt consists of these words only: no original prompt is added.
  contextPolicy: { includeOriginalPrompt: false },
  steps: [
    { id: 'there', model: 'mirror/plain', action: 'transform', prompt: 'original' },
    { id: 'back', model: 'mirror/plain', action: 'transform', prompt: '{{ previous }}' },
  ],
}

/** A provider of your own, and a flow that is cancelled, resumed and run again from its second step. */
export async function main({ log = console.log }: ExampleOptions = {}) {
  const polyphony = await createPolyphony({ database: 'memory://', providers: { mirror } })
  const { orchestrator, conversations } = polyphony
  const thread = await conversations.createThread('ada')

  const flow = await orchestrator.createFlow(thread.id, 'ada', definition)
  let cancelling: Promise<unknown> | undefined
  const running = orchestrator.executeFlow(flow.id, 'ada', {
    input: 'one two three',
    onUpdate(update) {
      // Cancelling aborts the running request; recorded steps are kept.
      if (update.type === 'step_start' && update.stepId === 'back') cancelling = orchestrator.cancelFlow(flow.id, 'ada')
    },
  })
  const ended = await running.catch((error: unknown) => OrchestratorError.from(error).code)
  await cancelling
  const status = await orchestrator.getFlowStatus(flow.id, 'ada')
  log(`${ended}: ${status.completedSteps} of ${status.totalSteps} steps, ${status.progress}%`)

  const resumed = await orchestrator.executeFlow(flow.id, 'ada')
  log(`resumed: ${resumed.finalOutput}`)

  const rerun = await orchestrator.rerunFlow(flow.id, 'ada', { fromStep: 'back' })
  const again = await orchestrator.executeFlow(rerun.id, 'ada')
  log(`rerun of ${rerun.parentFlowId}: ${again.finalOutput}`)

  const flows = await orchestrator.listFlows(thread.id, 'ada', { status: 'COMPLETED', sortBy: 'createdAt', sortOrder: 'ASC' })
  log(`${flows.length} completed flows in the thread`)
  await polyphony.close()
  return { ended, status, resumed, rerun, again, flows }
}

await runDirectly(import.meta.url, main)
