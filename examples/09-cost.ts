import { createPolyphony, createScriptedProvider, type FlowDefinitionInput, OrchestratorError } from 'polyphony'
import { type ExampleOptions, runDirectly } from './example.ts'

const briefing: FlowDefinitionInput = {
  name: 'briefing',
  type: 'sequential',
  steps: [
    { id: 'facts', model: 'house/small', action: 'extract', prompt: 'original', settings: { maxTokens: 500 } },
    { id: 'summary', model: 'house/small', action: 'summarize', prompt: '{{ previous }}', settings: { maxTokens: 500 } },
    { id: 'headline', model: 'house/free', action: 'transform', prompt: '{{ previous }}' },
  ],
}

/** What a flow may cost, what it did cost, and how a limit stops it. The provider is scripted and reports its tokens. */
export async function main({ log = console.log }: ExampleOptions = {}) {
  const usage = { inputTokens: 60, outputTokens: 400, totalTokens: 460, source: 'reported' } as const
  const house = createScriptedProvider({ id: 'house', replies: ({ model }) => ({ text: `words of ${model}`, usage }) })
  const polyphony = await createPolyphony({
    database: 'memory://',
    providers: { house },
    // US dollars per million tokens. Models of the known vendors are priced already; this one is not.
    prices: { 'house/small': { inputPerMillion: 2, outputPerMillion: 10 } },
  })
  const { orchestrator, conversations } = polyphony
  const thread = await conversations.createThread('ada')

  const { cost, calls } = await orchestrator.checkFlow(briefing, 'ada')
  log(`${calls.min} to ${calls.max} calls, $${cost.lowUsd.toFixed(4)} to $${cost.highUsd.toFixed(4)}, no price: ${cost.unpriced}`)

  const flow = await orchestrator.createFlow(thread.id, 'ada', briefing)
  const result = await orchestrator.executeFlow(flow.id, 'ada', { input: 'The news of the day' })
  for (const step of result.steps) {
    // An unknown price is undefined and never 0.
    log(`${step.stepId}: ${step.usage?.totalTokens} tokens, ${step.cost === undefined ? 'price unknown' : `$${step.cost}`}`)
  }
  log(`Total $${result.totalCost.toFixed(4)} for ${result.totalTokens} tokens, and ${result.unpricedSteps} step without a price`)

  // A limit is checked before each call against the most the call can cost, so it is never passed.
  const limited = await orchestrator.createFlow(thread.id, 'ada', { ...briefing, limits: { maxCostUsd: 0.008 } })
  const failure = await orchestrator.executeFlow(limited.id, 'ada', { input: 'More news' }).catch((error: unknown) => error)
  if (!OrchestratorError.is(failure)) throw failure
  const { stepResults } = await orchestrator.getFlow(limited.id, 'ada')
  log(`${failure.code} in step ${failure.details.stepId}: needed $${failure.details.needed}, spent $${failure.details.spent}`)
  log(`What was done is kept: ${stepResults[0]?.output}`)
  await polyphony.close()
  return { cost, result, failure: failure.toJSON(), stepResults }
}

await runDirectly(import.meta.url, main)
