import { SharingDeniedError } from '../domain/execution/sharing-denied.ts'
import type { SharingDecision } from '../domain/users/sharing.ts'
import type { ContextItem, DecideSharing, ShareContext, SharedContextRequest } from './policy.ts'
import { fitTokens } from './token-limit.ts'

export const decideSharing: DecideSharing = ({ kind, name, from }, to, policy) => {
  const decide = (allowed: boolean, rule: string): SharingDecision =>
    from === undefined ? { kind, piece: name, to, allowed, rule } : { kind, piece: name, from, to, allowed, rule }

  if (kind === 'original_prompt') return decide(true, 'original_prompt')
  if (kind === 'step_output' && from === to) return decide(true, 'own_output')
  // A policy for another provider permits nothing here.
  if (!policy || policy.providerKey !== to) return decide(false, 'no_policy')
  if (kind === 'step_output') return decide(policy.allowCrossProviderContext, 'allowCrossProviderContext')
  const rule = kind === 'attachment' ? 'allowAttachments' : 'allowConversationHistory'
  if (!policy[rule]) return decide(false, rule)
  const isForeign = from !== undefined && from !== to
  return isForeign && !policy.allowCrossProviderContext ? decide(false, 'allowCrossProviderContext') : decide(true, rule)
}

export const shareContext: ShareContext = async (request) => {
  const decisions = request.items.map((item) => decideItem(item, request))
  const allowed: ContextItem[] = []
  for (const [index, item] of request.items.entries()) {
    const decision = decisions[index]
    if (decision?.allowed) allowed.push(item)
    else if (decision && item.required) throw denied(request.stepId, decision)
  }

  const fitted = await fitTokens(allowed, request.contextPolicy.maxSharedTokens, request.countTokens)
  if (fitted.leftOut.size === 0) return { visible: fitted.visible, decisions, notes: fitted.notes }
  return {
    visible: fitted.visible,
    decisions: decisions.map((decision, index) => {
      const item = request.items[index]
      return item && fitted.leftOut.has(item) ? { ...decision, allowed: false, rule: 'maxSharedTokens' } : decision
    }),
    notes: fitted.notes,
  }
}

/**
 * Applies the context policy of the flow's author and the data-sharing policy of the user. An item that the author
 * hides stays hidden even if the user allows it.
 */
function decideItem(item: ContextItem, { to, userId, policy, contextPolicy }: SharedContextRequest): SharingDecision {
  const decision = decideSharing(item, to, policy?.userId === userId ? policy : undefined)
  const { shareConversationHistory, shareStepOutputs } = contextPolicy
  if (item.kind === 'conversation_history' && !shareConversationHistory) {
    return { ...decision, allowed: false, rule: 'shareConversationHistory' }
  }
  if (item.kind === 'step_output' && !shareStepOutputs) return { ...decision, allowed: false, rule: 'shareStepOutputs' }
  return decision
}

function denied(stepId: string, decision: SharingDecision): SharingDeniedError {
  const { piece, kind, from, to, rule } = decision
  const itemName = `${kind} "${piece}"${from === undefined ? '' : ` of ${from}`}`
  return new SharingDeniedError(`Step "${stepId}" needs ${itemName}, which ${to} may not see (${rule}).`, stepId, decision)
}
