import type { SharingDecision } from '../domain/users/sharing.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { ContextItem, DecideSharing, ShareContext, SharedContextRequest } from './policy.ts'
import { fitTokens } from './token-limit.ts'

export const decideSharing: DecideSharing = ({ kind, name, from }, to, policy) => {
  const decide = (allowed: boolean, rule: string): SharingDecision =>
    from === undefined ? { kind, piece: name, to, allowed, rule } : { kind, piece: name, from, to, allowed, rule }

  if (kind === 'original_prompt') return decide(true, 'original_prompt')
  if (kind === 'step_output' && from === to) return decide(true, 'own_output')
  // A policy that was made for another provider permits nothing here.
  if (!policy || policy.providerKey !== to) return decide(false, 'no_policy')
  if (kind === 'step_output') return decide(policy.allowCrossProviderContext, 'allowCrossProviderContext')
  const rule = kind === 'attachment' ? 'allowAttachments' : 'allowConversationHistory'
  if (!policy[rule]) return decide(false, rule)
  const isForeign = from !== undefined && from !== to
  return isForeign && !policy.allowCrossProviderContext ? decide(false, 'allowCrossProviderContext') : decide(true, rule)
}

export const shareContext: ShareContext = async (request) => {
  const decisions = request.items.map((piece) => judge(piece, request))
  const allowed: ContextItem[] = []
  for (const [index, piece] of request.items.entries()) {
    const decision = decisions[index]
    if (decision?.allowed) allowed.push(piece)
    else if (decision && piece.required) throw denied(request.stepId, decision)
  }

  const fitted = await fitTokens(allowed, request.contextPolicy.maxSharedTokens, request.countTokens)
  if (fitted.leftOut.size === 0) return { visible: fitted.visible, decisions, notes: fitted.notes }
  return {
    visible: fitted.visible,
    decisions: decisions.map((decision, index) => {
      const piece = request.items[index]
      return piece && fitted.leftOut.has(piece) ? { ...decision, allowed: false, rule: 'maxSharedTokens' } : decision
    }),
    notes: fitted.notes,
  }
}

/** What the flow's author keeps back comes before what the user allows: no permission would change it. */
function judge(piece: ContextItem, { to, userId, policy, contextPolicy }: SharedContextRequest): SharingDecision {
  const decision = decideSharing(piece, to, policy?.userId === userId ? policy : undefined)
  const { shareConversationHistory, shareStepOutputs } = contextPolicy
  if (piece.kind === 'conversation_history' && !shareConversationHistory) {
    return { ...decision, allowed: false, rule: 'shareConversationHistory' }
  }
  if (piece.kind === 'step_output' && !shareStepOutputs) return { ...decision, allowed: false, rule: 'shareStepOutputs' }
  return decision
}

function denied(stepId: string, { piece, kind, from, to, rule }: SharingDecision): OrchestratorError {
  const what = `${kind} "${piece}"${from === undefined ? '' : ` of ${from}`}`
  return new OrchestratorError('DATA_SHARING_DENIED', `Step "${stepId}" needs ${what}, which ${to} may not see (${rule}).`, {
    details: { stepId, piece, kind, ...(from === undefined ? {} : { from }), to, rule },
  })
}
