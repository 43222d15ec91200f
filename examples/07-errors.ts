import { createPolyphony, createScriptedProvider, type FlowDefinitionInput, OrchestratorError } from 'polyphony'
import { type ExampleOptions, runDirectly } from './example.ts'

const report: FlowDefinitionInput = {
  name: 'report',
  type: 'sequential',
  steps: [
    { id: 'draft', model: 'shaky/small', action: 'generate', prompt: 'original', maxRetries: 2 },
    { id: 'review', model: 'shaky/small', action: 'critique', prompt: 'Review: {{ previous }}', timeout: 40 },
    {
      id: 'final',
      model: 'broken/large',
      fallbacks: [{ provider: 'shaky', model: 'small' }],
      action: 'refine',
      prompt: 'Revise {{ steps.draft.output }} according to {{ steps.review.output }}',
    },
  ],
}

/** Failures and how a flow recovers: a retry, a timeout, a resumed flow and a fallback. All providers are scripted. */
export async function main({ log = console.log }: ExampleOptions = {}) {
  const shaky = createScriptedProvider({
    id: 'shaky',
    replies: [
      new OrchestratorError('PROVIDER_RATE_LIMITED', 'slow down', { details: { retryAfterMs: 0 } }),
      'the draft',
      { text: '', hang: true },
      'the review',
      'the report',
    ],
  })
  const broken = createScriptedProvider({ id: 'broken', replies: [new OrchestratorError('PROVIDER_AUTH', 'wrong key')] })
  const polyphony = await createPolyphony({
    database: 'memory://',
    providers: { shaky, broken },
    retry: { baseDelayMs: 1 },
  })
  const { orchestrator, conversations, dataSharing } = polyphony
  await dataSharing.set('ada', 'broken', { allowCrossProviderContext: true })
  const thread = await conversations.createThread('ada')
  const flow = await orchestrator.createFlow(thread.id, 'ada', report)

  const failure = await orchestrator.executeFlow(flow.id, 'ada', { input: 'The quarter' }).catch((error: unknown) => error)
  if (!OrchestratorError.is(failure)) throw failure
  // Decide on the code and on `retryable`, never on the message.
  log(`${failure.code} in step ${failure.details.stepId}. ${failure.facts.remedy}`)
  const status = await orchestrator.getFlowStatus(flow.id, 'ada')
  log(`The flow is ${status.status} at ${status.progress}%; failed: ${status.failedSteps.join(', ')}`)

  // Executing the flow again resumes it: the draft is recorded, so it is not requested a second time.
  const result = await orchestrator.executeFlow(flow.id, 'ada')
  for (const { stepId, attempts } of result.steps) {
    const outcomes = attempts.map(({ provider, error }) => `${provider} ${error?.code ?? 'answered'}`)
    log(`${stepId}: ${outcomes.join(', ')}`)
  }
  await polyphony.close()
  return { code: failure.code, status, result, requests: shaky.requests.length }
}

await runDirectly(import.meta.url, main)
