import type { FlowUpdate } from '../../src/domain/execution/flow-update.ts'
import type { DataSharingRules } from '../../src/domain/users/sharing.ts'
import { createLoopback, type Loopback } from '../support/loopback.ts'
import { answerWell, JSON_TYPE, WIRES, type Wire } from './vendor-wires.ts'

/** Where one marked piece of text comes from. */
export type Source =
  | { readonly kind: 'output'; readonly run: string; readonly stepId: string; readonly from: string }
  | { readonly kind: 'history'; readonly run: string; readonly from?: string }
  | { readonly kind: 'attachment'; readonly run: string }
  | { readonly kind: 'stranger' }

/** One request that reached a provider, with every canary found in it. */
export interface Arrival {
  readonly run: string
  readonly stepId: string
  readonly to: string
  readonly canaries: readonly string[]
  /** What it was answered with; absent where it was refused. */
  readonly answered?: string
}

export interface CanaryVendors {
  readonly server: Loopback
  readonly sources: ReadonlyMap<string, Source>
  readonly arrivals: Arrival[]
  mark(source: Source): string
  /** Provider ids that answer the next request of a run's step with 400, each once. */
  refuse(run: string, stepId: string, provider: string): void
}

const wireNamed = (name: string): Wire => {
  const wire = WIRES.find((candidate) => candidate.name === name)
  if (!wire) throw new Error(`no wire ${name}`)
  return wire
}

export const VENDOR_WIRES: Readonly<Record<string, Wire>> = {
  alpha: wireNamed('openai-compatible'),
  beta: wireNamed('anthropic'),
  gamma: wireNamed('google'),
  delta: wireNamed('openai-compatible'),
  epsilon: wireNamed('openai-compatible'),
}
export const VENDORS = ['alpha', 'beta', 'gamma'] as const
/** Services that answer steps: one that is in house, and one that is a recipient like any vendor. */
export const IN_HOUSE = 'delta'
export const OUTSIDE = 'epsilon'
export const PROVIDERS = [...VENDORS, IN_HOUSE, OUTSIDE] as const
/** A pool of one service in house, one outside, and a vendor. */
export const POOL = 'pool'

const CANARY = /canary-\d+-end/g

/** Three vendors and two services on one server. Every answer carries a canary of its own; a request names its run and step as `RUN(…)STEP(…)` in its system prompt. */
export async function createCanaryVendors(): Promise<CanaryVendors> {
  const sources = new Map<string, Source>()
  const arrivals: Arrival[] = []
  const refusals = new Set<string>()
  const mark = (source: Source): string => {
    const canary = `canary-${sources.size}-end`
    sources.set(canary, source)
    return canary
  }
  const server = await createLoopback(({ endpoint, path, text, body, response }) => {
    const wire = VENDOR_WIRES[endpoint]
    const [, run = '', stepId = ''] = /RUN\(([^)]*)\)STEP\(([^)]*)\)/.exec(text) ?? []
    const canaries = [...new Set(text.match(CANARY) ?? [])]
    if (!wire || refusals.delete(`${run} ${stepId} ${endpoint}`)) {
      arrivals.push({ run, stepId, to: endpoint, canaries })
      response.writeHead(400, JSON_TYPE).end('{"error":{"message":"no","type":"x"}}')
      return
    }
    const answered = mark({ kind: 'output', run, stepId, from: endpoint })
    arrivals.push({ run, stepId, to: endpoint, canaries, answered })
    const answer = JSON.stringify({ issues: [answered], feedback: answered, score: 0.3, approved: false })
    answerWell(wire, wire.isStreamed(path, body), response, answer)
  })
  return { server, sources, arrivals, mark, refuse: (...given) => refusals.add(given.join(' ')) }
}

export interface Rules {
  readonly policies: Readonly<Record<string, DataSharingRules | undefined>>
  readonly shareConversationHistory: boolean
  readonly shareStepOutputs: boolean
}

/** Whether a piece may reach a provider: the rules of SPEC section 4, written anew. */
export function isAllowed(source: Source, run: string, to: string, rules: Rules): boolean {
  const policy = rules.policies[to]
  if (source.kind === 'stranger') return false
  if (to === IN_HOUSE) {
    // What the author of the flow hides stays hidden; the user has nothing to decide.
    if (source.kind === 'attachment') return true
    return source.kind === 'output' && source.run === run ? rules.shareStepOutputs : rules.shareConversationHistory
  }
  if (source.kind === 'attachment') return policy?.allowAttachments === true
  const { from } = source
  const foreignAllowed = from === undefined || from === to || policy?.allowCrossProviderContext === true
  if (source.kind === 'output' && source.run === run) return rules.shareStepOutputs && foreignAllowed
  // What another run said can only come as a message of the thread.
  return rules.shareConversationHistory && policy?.allowConversationHistory === true && foreignAllowed
}

/** Decisions that were announced as updates, of one step. */
export const withheldUpdates = (updates: readonly FlowUpdate[], stepId: string): readonly string[] =>
  updates.flatMap((update) =>
    update.type === 'context_withheld' && update.stepId === stepId
      ? [`${update.data.kind} ${update.data.piece} ${update.data.to}`]
      : [],
  )
