import { createPolyphony, type FlowDefinitionInput, StepAction } from 'polyphony'
import { type ExampleOptions, runDirectly } from './example.ts'

/** Each step uses the output of the one before it. A prompt is a Liquid template or a function. */
const article: FlowDefinitionInput = {
  name: 'article',
  type: 'sequential',
  steps: [
    {
      id: 'notes',
      model: 'openai/gpt-6-luna',
      action: StepAction.EXTRACT,
      prompt: 'List five facts that answer this question: {{ original }}',
    },
    {
      id: 'outline',
      model: 'openai/gpt-6-luna',
      action: StepAction.SUMMARIZE,
      prompt: 'Put these notes into a sensible order:\n{{ previous | fence: "notes" }}',
    },
    {
      id: 'text',
      model: 'openai/gpt-6-sol',
      action: StepAction.GENERATE,
      prompt: ({ originalPrompt, previousStepOutputs }) =>
        `Answer "${originalPrompt}" in one paragraph that follows this outline:\n${previousStepOutputs.outline}`,
    },
  ],
}

/**
 * A sequential flow in a conversation: its input is the last message of the thread, and its answers are added there.
 */
export async function main({ log = console.log, real = false }: ExampleOptions = {}) {
  const polyphony = await createPolyphony({ database: 'memory://', simulator: !real })
  const { orchestrator, conversations } = polyphony
  const thread = await conversations.createThread('ada', { title: 'Tides' })
  await conversations.addMessage(thread.id, 'ada', { role: 'user', content: 'Why are there two tides a day?' })

  const flow = await orchestrator.createFlow(thread.id, 'ada', article)
  const result = await orchestrator.executeFlow(flow.id, 'ada', { saveMessages: true })
  for (const step of result.steps) log(`${step.stepId}: ${step.output}`)

  const messages = await conversations.getMessages(thread.id, 'ada')
  log(`The thread has ${messages.length} messages; the last one is from flow ${messages.at(-1)?.metadata.orchestrationFlowId}.`)
  await polyphony.close()
  return { result, messages }
}

await runDirectly(import.meta.url, main)
