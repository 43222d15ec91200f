import type { FlowDefinition } from '../../domain/definition/flow-definition.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { PreflightOptions } from '../../orchestrator/inspect/preflight.ts'
import type { ServerDeps } from '../server-deps.ts'

const RULES = new Map([
  ['step_output', 'allowCrossProviderContext'],
  ['tool_result', 'allowCrossProviderContext'],
  ['conversation_history', 'allowConversationHistory'],
  ['metadata', 'allowConversationHistory'],
  ['attachment', 'allowAttachments'],
])

/**
 * The error message with a remedy: the consent that is missing and how to give it, for callers that use Polyphony only
 * through OpenAI's client.
 */
export function messageWithRemedy({ code, message, details }: OrchestratorError): string {
  if (code !== 'DATA_SHARING_DENIED') return message
  const denied: readonly unknown[] = Array.isArray(details.denied) ? details.denied : [details]
  // A request replaces the whole policy of a provider, so that it has to name every rule.
  const rules = new Map<string, Set<string>>()
  for (const one of denied) {
    const { to, allow } = toConsent(one)
    if (to !== undefined && allow.length > 0) rules.set(to, new Set([...(rules.get(to) ?? []), ...allow]))
  }
  const requests = [...rules].map(
    ([to, allow]) =>
      `PUT /api/v1/data-sharing/${encodeURIComponent(to)} {${[...allow].map((rule) => `"${rule}":true`).join(',')}}`,
  )
  return requests.length === 0 ? message : `${message.replace(/\.$/, '')}. If you want that, allow it: ${requests.join('; ')}`
}

interface Consent {
  readonly to?: string
  readonly allow: readonly string[]
}

/** The rules for the denied item itself, for what it was made from, and those that a check before the run names. */
function toConsent(denied: unknown): Consent {
  if (typeof denied !== 'object' || denied === null || !('to' in denied) || !('kind' in denied)) return { allow: [] }
  const listed: readonly unknown[] = 'allow' in denied && Array.isArray(denied.allow) ? denied.allow : []
  const known = [...new Set(RULES.values())].filter((rule) => listed.includes(rule))
  const origin = 'origin' in denied ? denied.origin : undefined
  const further = typeof origin === 'object' && origin !== null && 'kind' in origin ? [RULES.get(String(origin.kind)) ?? []] : []
  return { to: String(denied.to), allow: [RULES.get(String(denied.kind)) ?? [], ...further, known].flat() }
}

/**
 * Rejects with the problem that would stop the flow half-way, before any cost arises: a provider that is not
 * configured, or DATA_SHARING_DENIED with everything to allow for the steps that run in every execution. Sharing that a
 * step with a condition needs is decided when it runs. With files everybody who may receive them must be allowed to.
 */
export async function assertRunnable(
  { orchestrator }: Pick<ServerDeps, 'orchestrator'>,
  definition: FlowDefinition,
  userId: string,
  { files = false }: Pick<PreflightOptions, 'files'> = {},
): Promise<void> {
  const stops = await orchestrator.preflight(definition, userId, {
    steps: 'certain',
    ignoreDefinition: true,
    ignoreLimits: true,
    files,
  })
  const [first] = stops
  if (!first) return
  const denied = stops.filter(({ code }) => code === 'DATA_SHARING_DENIED')
  if (first.code !== 'DATA_SHARING_DENIED') throw new OrchestratorError(first.code, first.message, { details: first.details })
  throw new OrchestratorError(first.code, denied.map(({ message }) => message).join('; '), {
    details: {
      ...first.details,
      denied: denied.map(({ details }) => ({ to: details.to, kind: details.kind, allow: details.allow })),
    },
  })
}
