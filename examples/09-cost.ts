import { createPolyphony, createScriptedProvider, type FlowDefinitionInput, OrchestratorError } from 'polyphony'
import { type ExampleOptions, runDirectly } from './example.ts'

const briefing: FlowDefinitionInput = {
  name: 'briefing',
  type: 'sequential',
  steps: [
    { id: 'facts', model: 'local/small', action: 'extract', prompt: 'original', settings: { maxTokens: 500 } },
    { id: 'summary', model: 'local/small', action: 'summarize', prompt: '{{ previous }}', settings: { maxTokens: 500 } },
    { id: 'headline', model: 'local/free', action: 'transform', prompt: '{{ previous }}' },
  ],
}

/** Estimated cost, actual cost, and a limit that stops a flow. The provider is scripted and reports its tokens. */
export async function main({ log = console.log }: ExampleOptions = {}) {
  const usage = { inputTokens: 60, outputTokens: 400, totalTokens: 460, source: 'reported' } as const
  const local = createScriptedProvider({ id: 'local', replies: ({ model }) => ({ text: `words of ${model}`, usage }) })
  const polyphony = await createPolyphony({
    database: 'memory://',
    providers: { local },
    // US dollars per million tokens. Models of known vendors are in the bundled price list; this one is not.
    prices: { 'local/small': { inputPerMillion: 2, outputPerMillion: 10 } },
  })
  const { orchestrator, conversations } = polyphony
  const thread = await conversations.createThread('ada')

  const { cost, calls } = await orchestrator.checkFlow(briefing, 'ada')
  log(`${calls.min} to ${calls.max} calls, $${cost.lowUsd.toFixed(4)} to $${cost.highUsd.toFixed(4)}, no price: ${cost.unpriced}`)

  const flow = await orchestrator.createFlow(thread.id, 'ada', briefing)
  const result = await orchestrator.executeFlow(flow.id, 'ada', { input: 'The news of the day' })
  for (const step of result.steps) {
    // An unknown cost is undefined, never 0.
    log(`${step.stepId}: ${step.usage?.totalTokens} tokens, ${step.cost === undefined ? 'price unknown' : `$${step.cost}`}`)
  }
  log(`Total $${result.totalCost.toFixed(4)} for ${result.totalTokens} tokens, and ${result.unpricedSteps} step without a price`)

  // Before each call the limit is compared with the maximum cost of the call, so it is never exceeded.
  const limited = await orchestrator.createFlow(thread.id, 'ada', { ...briefing, limits: { maxCostUsd: 0.008 } })
  const failure = await orchestrator.executeFlow(limited.id, 'ada', { input: 'More news' }).catch((error: unknown) => error)
  if (!OrchestratorError.is(failure)) throw failure
  const { stepResults } = await orchestrator.getFlow(limited.id, 'ada')
  log(`${failure.code} in step ${failure.details.stepId}: needed $${failure.details.needed}, spent $${failure.details.spent}`)
  log(`Results before the limit are kept: ${stepResults[0]?.output}`)
  await polyphony.close()
  return { cost, result, failure: failure.toJSON(), stepResults }
}

await runDirectly(import.meta.url, main)
