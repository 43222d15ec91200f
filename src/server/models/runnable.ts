import type { FlowDefinition } from '../../domain/definition/flow-definition.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { ServerDeps } from '../server-deps.ts'

const RULES = new Map([
  ['step_output', 'allowCrossProviderContext'],
  ['conversation_history', 'allowConversationHistory'],
  ['attachment', 'allowAttachments'],
])

/** The message, with what to allow and how for those who have no other way into Polyphony than OpenAI's client. */
export function messageWithRemedy({ code, message, details }: OrchestratorError): string {
  if (code !== 'DATA_SHARING_DENIED') return message
  const denied: readonly unknown[] = Array.isArray(details.denied) ? details.denied : [details]
  const requests = new Set(denied.flatMap(toRequest))
  return requests.size === 0 ? message : `${message.replace(/\.$/, '')}. If you want that, allow it: ${[...requests].join('; ')}`
}

function toRequest(denied: unknown): readonly string[] {
  if (typeof denied !== 'object' || denied === null || !('to' in denied) || !('kind' in denied)) return []
  const rule = RULES.get(String(denied.kind))
  return rule ? [`PUT /api/v1/data-sharing/${encodeURIComponent(String(denied.to))} {"${rule}":true}`] : []
}

/**
 * Rejects with what would stop the flow on its way, before anything was paid for: a provider that is not there, or
 * DATA_SHARING_DENIED, naming everything there is to allow, where steps that are sure to run need what they may not
 * see. What a step with a condition needs is judged when it runs.
 */
export async function assertRunnable(
  { orchestrator, dataSharing }: Pick<ServerDeps, 'orchestrator' | 'dataSharing'>,
  definition: FlowDefinition,
  userId: string,
): Promise<void> {
  const { steps } = definition
  const providers = [...new Set(steps.map(({ provider }) => provider))]
  const policies = await Promise.all(providers.map((provider) => dataSharing.get(userId, provider)))
  // The whole check counts tokens, which takes its time: it is made where it may have something to tell.
  if (providers.length === 1 || policies.every((policy) => policy?.allowCrossProviderContext)) return
  const { problems } = await orchestrator.checkFlow(definition, userId)
  const missing = problems.find(({ code }) => code.startsWith('PROVIDER_'))
  if (missing) throw new OrchestratorError(missing.code, missing.message, { details: missing.details })
  const certain = new Set(steps.filter((step) => !step.condition && !step.otherwise && !step.optional).map(({ id }) => id))
  const denied = problems.filter(({ code, details }) => code === 'DATA_SHARING_DENIED' && certain.has(String(details.stepId)))
  const [first] = denied
  if (!first) return
  throw new OrchestratorError(first.code, denied.map(({ message }) => message).join('; '), {
    details: { ...first.details, denied: denied.map(({ details }) => ({ to: details.to, kind: details.kind })) },
  })
}
