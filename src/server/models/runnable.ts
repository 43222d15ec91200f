import type { FlowDefinition } from '../../domain/definition/flow-definition.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { ServerDeps } from '../server-deps.ts'

const RULES = new Map([
  ['step_output', 'allowCrossProviderContext'],
  ['conversation_history', 'allowConversationHistory'],
  ['attachment', 'allowAttachments'],
])

/**
 * The error message with a remedy: the consent that is missing and how to give it, for callers that use Polyphony only
 * through OpenAI's client.
 */
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
 * Rejects with the problem that would stop the flow half-way, before any cost arises: a provider that is not
 * configured, or DATA_SHARING_DENIED with everything to allow for the steps that run in every execution. Sharing that a
 * step with a condition needs is decided when it runs.
 */
export async function assertRunnable(
  { orchestrator }: Pick<ServerDeps, 'orchestrator'>,
  definition: FlowDefinition,
  userId: string,
): Promise<void> {
  const stops = await orchestrator.preflight(definition, userId, {
    steps: 'certain',
    ignoreDefinition: true,
    ignoreLimits: true,
  })
  const [first] = stops
  if (!first) return
  const denied = stops.filter(({ code }) => code === 'DATA_SHARING_DENIED')
  if (first.code !== 'DATA_SHARING_DENIED') throw new OrchestratorError(first.code, first.message, { details: first.details })
  throw new OrchestratorError(first.code, denied.map(({ message }) => message).join('; '), {
    details: { ...first.details, denied: denied.map(({ details }) => ({ to: details.to, kind: details.kind })) },
  })
}
