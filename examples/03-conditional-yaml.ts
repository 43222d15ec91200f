import { createPolyphony, type FlowDefinitionInput } from 'polyphony'
import { parse } from 'yaml'
import { type ExampleOptions, runDirectly } from './example.ts'

/** A definition can be pure data: prompts in Liquid, conditions in CEL. Any process can run it from the database. */
const definition = `
name: help desk
type: conditional
steps:
  - id: classify
    model: openai/gpt-6-luna
    action: analyze
    prompt: |
      Which of the words TECHNICAL, CREATIVE or GENERAL fits this request? Answer with exactly one of these words.
      {{ original | fence: "request" }}
  - id: engineer
    model: openai/gpt-6-sol
    action: generate
    condition: steps.classify.output.contains("TECHNICAL")
    system: You are an engineer. Be precise.
    prompt: original
  - id: writer
    model: anthropic/claude-opus-5-5
    action: generate
    condition: steps.classify.output.contains("CREATIVE")
    system: You are a writer. Be vivid.
    prompt: original
  - id: generalist
    model: openai/gpt-6-luna
    action: generate
    otherwise: true
    prompt: original
`

/** A cheap model classifies the requests, and only the matching branch runs. */
export async function main({ log = console.log, real = false }: ExampleOptions = {}) {
  const polyphony = await createPolyphony({ database: 'memory://', simulator: !real })
  const { orchestrator, conversations } = polyphony
  const thread = await conversations.createThread('ada')
  const helpDesk: FlowDefinitionInput = parse(definition)

  const answeredBy: Record<string, string | undefined> = {}
  for (const input of ['My server has an error in its code.', 'Write a poem about rain.', 'Good morning!']) {
    const flow = await orchestrator.createFlow(thread.id, 'ada', helpDesk)
    const { steps } = await orchestrator.executeFlow(flow.id, 'ada', { input })
    answeredBy[input] = steps.findLast(({ status }) => status === 'SUCCESS')?.stepId
    log(`"${input}" went to the ${answeredBy[input]}`)
  }
  await polyphony.close()
  return answeredBy
}

await runDirectly(import.meta.url, main)
