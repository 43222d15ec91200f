import { SharingDeniedError } from '../domain/execution/sharing-denied.ts'
import { describeDenial } from '../domain/users/origins.ts'
import type { DataSharingPolicy, Origin, SharingDecision } from '../domain/users/sharing.ts'
import type { ContextItem, DecideSharing, SharedContext, SharedContextRequest, SharingItem, SharingRules } from './policy.ts'
import { fitTokens } from './token-limit.ts'

export interface SharingRulesOptions {
  /**
   * Whether a provider answers in this process. Text that it receives does not leave the process, and what it writes is
   * text of the operator. Default: none does.
   */
  readonly isInProcess?: (provider: string) => boolean
  /**
   * Whether what a provider receives stays with the operator. What it writes is still text of its own, about which
   * users decide. Default: none.
   */
  readonly isInHouse?: (provider: string) => boolean
}

interface Ruling {
  readonly allowed: boolean
  readonly rule: string
}

const IN_PROCESS: Ruling = { allowed: true, rule: 'in_process' }
const AT_OPERATOR: Ruling = { allowed: true, rule: 'in_house' }
const ORIGINAL_PROMPT: Ruling = { allowed: true, rule: 'original_prompt' }
const OWN_OUTPUT: Ruling = { allowed: true, rule: 'own_output' }
const NO_POLICY: Ruling = { allowed: false, rule: 'no_policy' }

const DIRECT = { provenance: 'direct' } as const

/** The rules by which context items are shared. They keep no state. */
export function createSharingRules({
  isInProcess = () => false,
  isInHouse = () => false,
}: SharingRulesOptions = {}): SharingRules {
  const decideSharing: DecideSharing = (item, to, policy, provenance) => {
    const mark = provenance === 'direct' ? DIRECT : undefined
    if (isInProcess(to)) return toDecision(item, to, IN_PROCESS, mark)
    if (isInHouse(to)) return toDecision(item, to, AT_OPERATOR, mark)
    const ruling = decideOrigin(item, to, policy, isInProcess)
    if (ruling.allowed && !mark && item.madeFrom) {
      for (const origin of item.madeFrom) {
        const further = decideOrigin(origin, to, policy, isInProcess)
        if (!further.allowed) return toDecision(item, to, further, { origin })
      }
    }
    return toDecision(item, to, ruling, mark)
  }
  return { decideSharing, shareContext: (request) => shareContext(request, decideSharing) }
}

/** `mark` is what the decision says beside its ruling: the origin that decided, or that only writers count. */
function toDecision(
  { kind, name, from }: SharingItem,
  to: string,
  { allowed, rule }: Ruling,
  mark: Pick<SharingDecision, 'origin' | 'provenance'> | undefined,
): SharingDecision {
  const decision = from === undefined ? { kind, piece: name, to, allowed, rule } : { kind, piece: name, from, to, allowed, rule }
  return mark ? { ...decision, ...mark } : decision
}

/** Applies the user's policy to one kind of text of one writer. */
function decideOrigin(
  { kind, from }: Origin,
  to: string,
  policy: DataSharingPolicy | undefined,
  isInProcess: (provider: string) => boolean,
): Ruling {
  if (kind === 'original_prompt') return ORIGINAL_PROMPT
  const isOutput = kind === 'step_output' || kind === 'tool_result'
  if (isOutput && from === to) return OWN_OUTPUT
  if (isOutput && from !== undefined && isInProcess(from)) return IN_PROCESS
  // A policy for another provider permits nothing here.
  if (!policy || policy.providerKey !== to) return NO_POLICY
  if (isOutput) return { allowed: policy.allowCrossProviderContext, rule: 'allowCrossProviderContext' }
  const rule = kind === 'attachment' ? 'allowAttachments' : 'allowConversationHistory'
  if (!policy[rule]) return { allowed: false, rule }
  const isForeign = from !== undefined && from !== to && !isInProcess(from)
  return isForeign && !policy.allowCrossProviderContext
    ? { allowed: false, rule: 'allowCrossProviderContext' }
    : { allowed: true, rule }
}

async function shareContext(request: SharedContextRequest, decideSharing: DecideSharing): Promise<SharedContext> {
  const decisions = request.items.map((item) => decideItem(item, request, decideSharing))
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
function decideItem(
  item: ContextItem,
  { to, userId, policy, contextPolicy }: SharedContextRequest,
  decideSharing: DecideSharing,
): SharingDecision {
  const decision = decideSharing(item, to, policy?.userId === userId ? policy : undefined, contextPolicy.provenance)
  const { shareConversationHistory, shareStepOutputs } = contextPolicy
  if (item.kind === 'conversation_history' && !shareConversationHistory) return hidden(decision, 'shareConversationHistory')
  if (item.kind === 'step_output' && !shareStepOutputs) return hidden(decision, 'shareStepOutputs')
  return decision
}

const hidden = ({ origin: _, ...decision }: SharingDecision, rule: string): SharingDecision => ({
  ...decision,
  allowed: false,
  rule,
})

function denied(stepId: string, decision: SharingDecision): SharingDeniedError {
  const { piece, kind, from } = decision
  const itemName = `${kind} "${piece}"${from === undefined ? '' : ` of ${from}`}`
  return new SharingDeniedError(`Step "${stepId}" needs ${itemName}, ${describeDenial(decision)}.`, stepId, decision)
}
