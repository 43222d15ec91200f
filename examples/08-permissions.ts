import { createPolyphony, type FlowDefinitionInput, OrchestratorError } from 'polyphony'
import { type ExampleOptions, runDirectly } from './example.ts'

const secondOpinion: FlowDefinitionInput = {
  name: 'second opinion',
  type: 'sequential',
  steps: [
    { id: 'answer', model: 'openai/gpt-6-sol', action: 'generate', prompt: 'original' },
    {
      id: 'opinion',
      model: 'anthropic/claude-opus-5-5',
      action: 'critique',
      inputFrom: 'answer',
      prompt: 'What is wrong with this answer?\n{{ input | fence: "answer" }}',
    },
  ],
}

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'allowed',
    (error: unknown) => OrchestratorError.from(error).code,
  )

/** Two permissions, both denied by default: a user's access to a thread, and a provider's access to a text. */
export async function main({ log = console.log, real = false }: ExampleOptions = {}) {
  const polyphony = await createPolyphony({ database: 'memory://', simulator: !real })
  const { orchestrator, conversations, permissions, dataSharing } = polyphony
  const thread = await conversations.createThread('ada')
  const flow = await orchestrator.createFlow(thread.id, 'ada', secondOpinion)

  // Providers: the text of one is not sent to another until the user allows it. checkFlow reports this before any call.
  const check = await orchestrator.checkFlow(secondOpinion, 'ada')
  for (const { code, path, message } of check.problems) log(`${code} at ${path}: ${message}`)
  const withoutPolicy = await codeOf(orchestrator.executeFlow(flow.id, 'ada', { input: 'Is the sea blue?' }))
  await dataSharing.set('ada', 'anthropic', { allowCrossProviderContext: true })
  const result = await orchestrator.executeFlow(flow.id, 'ada')
  const decisions = result.steps.flatMap(({ sharing }) => sharing)
  for (const { piece, from, to, allowed, rule } of decisions) log(`${piece}: ${from} to ${to} allowed ${allowed} by ${rule}`)

  // Users: without a right the flow seems not to exist; with the right to read it can be seen, but not deleted.
  const stranger = await codeOf(orchestrator.getFlow(flow.id, 'bob'))
  await permissions.grant(thread.id, 'ada', 'bob', ['read'])
  const reader = await codeOf(orchestrator.getFlow(flow.id, 'bob'))
  const readerDeletes = await codeOf(orchestrator.deleteFlow(flow.id, 'bob'))
  log(`bob without a right: ${stranger}; as a reader: ${reader}; deleting: ${readerDeletes}`)
  await polyphony.close()
  return { check, withoutPolicy, decisions, stranger, reader, readerDeletes }
}

await runDirectly(import.meta.url, main)
