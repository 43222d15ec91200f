import type { DataSharingRules } from '../../src/domain/users/sharing.ts'
import { IN_HOUSE, INSIDE, type ProvenancePlan, rerunFrom, type StepDraft } from './provenance-plans.ts'

// What SPEC sections 4 and 14 say, written anew: nothing here comes from the implementation.

/** One kind of text and its writer. */
export interface Tag {
  readonly kind: 'original_prompt' | 'conversation_history' | 'attachment' | 'step_output' | 'metadata' | 'tool_result'
  readonly from?: string
}

type Policies = Readonly<Record<string, DataSharingRules | undefined>>

export const tagKey = ({ kind, from }: { readonly kind: string; readonly from?: string }): string =>
  from === undefined ? kind : `${kind} ${from}`

/** Whether the user lets a provider see a text of this kind and writer. */
export function maySee(to: string, { kind, from }: Tag, policies: Policies): boolean {
  if (INSIDE.has(to) || to === IN_HOUSE || kind === 'original_prompt') return true
  const policy = policies[to]
  const mayCross = from === undefined || from === to || INSIDE.has(from) || policy?.allowCrossProviderContext === true
  if (kind === 'step_output' || kind === 'tool_result') return mayCross
  if (kind === 'attachment') return policy?.allowAttachments === true
  return policy?.allowConversationHistory === true && mayCross
}

const maySeeAll = (to: string, tags: readonly Tag[], policies: Policies): boolean =>
  tags.every((tag) => maySee(to, tag, policies))

/** What a text consists of, its own writer included. */
type Text = readonly Tag[]

export interface ExpectedStep {
  /** What the output was made from; absent where the step fails. */
  readonly madeFrom?: ReadonlyMap<string, Tag>
  /** The providers that answer; none for a step that a person approves. */
  readonly writers: readonly string[]
}

export interface Expected {
  /** One per step that runs; the last fails if `succeeds` is false. */
  readonly steps: readonly ExpectedStep[]
  readonly succeeds: boolean
}

const PROMPT: Tag = { kind: 'original_prompt' }

interface Received {
  readonly to: string
  readonly tags: Text
}

/** The expected outcomes of the first run and, if there is one, of the second. */
export function expect2(plan: ProvenancePlan): readonly Expected[] {
  const said = plan.history.map((message) => ({
    isSystem: message.role === 'system',
    from: message.from,
    tags: [{ kind: 'conversation_history', from: message.from }] as const,
  }))
  const first = simulate(plan, said, [])
  if (plan.second === 'none' || (typeof plan.second === 'object' && !first.succeeds)) return [first]
  // The answers of the first run were saved in the thread, and so was its prompt, if it was a message.
  const saved = first.steps.flatMap(({ madeFrom, writers }, index) => {
    if (!madeFrom) return []
    const isApproval = plan.steps[index]?.approves === true
    const from = isApproval ? undefined : writers[0]
    return [{ isSystem: false, from, tags: [{ kind: 'conversation_history', from } as const, ...madeFrom.values()] }]
  })
  const asked =
    plan.givesInput || saved.length === 0 ? [] : [{ isSystem: false, tags: [{ kind: 'conversation_history' }] as const }]
  const from = rerunFrom(plan)
  return [first, simulate(plan, [...said, ...asked, ...saved], first.steps.slice(0, from ?? 0))]
}

interface Said {
  readonly isSystem: boolean
  readonly from?: string
  readonly tags: Text
}

function simulate(plan: ProvenancePlan, history: readonly Said[], carried: readonly ExpectedStep[]): Expected {
  const outputs: Output[] = carried.map(toOutput)
  const steps: ExpectedStep[] = [...carried]
  for (const step of plan.steps.slice(carried.length)) {
    const expected = step.approves
      ? { madeFrom: byKey(textsOf(step, outputs, history)), writers: [] }
      : step.runs
        ? operated(plan, step, step.runs, outputs, history)
        : answered(plan, step, outputs, history)
    steps.push(expected)
    if (!expected.madeFrom) return { steps, succeeds: false }
    outputs.push(toOutput(expected))
  }
  return { steps, succeeds: true }
}

interface Output {
  readonly writers: readonly string[]
  readonly tags: Text
}

const toOutput = ({ madeFrom = new Map(), writers }: ExpectedStep): Output => ({
  writers,
  tags: [...writers.map((from) => ({ kind: 'step_output', from }) as const), ...madeFrom.values()],
})
const NO_OUTPUT: Output = { writers: [], tags: [] }

/** What a template alone reads. All of it is shown to a person, because it stays here. */
function textsOf({ reads, k }: StepDraft, outputs: readonly Output[], history: readonly Said[]): Text {
  if (reads === 'metadata') return [{ kind: 'metadata' }]
  if (reads === 'history') return [PROMPT, ...history.flatMap(({ tags }) => tags)]
  return ((reads === 'previous' ? outputs.at(-1) : outputs[k]) ?? NO_OUTPUT).tags
}

/** An operation receives what the templates of its arguments read; of the conversation, what it may see. */
function operated(
  { policies, shareConversationHistory }: ProvenancePlan,
  step: StepDraft,
  to: string,
  outputs: readonly Output[],
  history: readonly Said[],
): ExpectedStep {
  const isAllowed = ({ tags }: Said) => shareConversationHistory && maySeeAll(to, tags, policies)
  const read = textsOf(step, outputs, history.filter(isAllowed))
  return maySeeAll(to, read, policies) ? { madeFrom: byKey(read), writers: [to] } : { writers: [] }
}

/**
 * What the answer of a model with a tool was made from: the tool is called if it may see the arguments, and the model
 * its result.
 */
function withTool({ policies }: ProvenancePlan, { tool }: StepDraft, { to, tags }: Received): Received {
  if (tool === undefined) return { to, tags }
  const result: Tag = { kind: 'tool_result', from: tool }
  const isCalled = maySeeAll(tool, [{ kind: 'step_output', from: to }, ...tags], policies) && maySee(to, result, policies)
  return { to, tags: isCalled ? [...tags, result] : tags }
}

/** Each sample asks the step's provider, and its fallback where that refuses. One that answers is enough. */
function answered(plan: ProvenancePlan, step: StepDraft, outputs: readonly Output[], history: readonly Said[]): ExpectedStep {
  const receive = (to: string): Received | undefined => {
    const tags = request(plan, step, to, outputs, history)
    return tags && withTool(plan, step, { to, tags })
  }
  const first = receive(step.provider)
  const isLeft = step.refuses === 'afterTool' && step.tool !== undefined && step.fallback !== undefined
  /** The fallback continues after the turns of another model, if it may see them. */
  const takenOver = ({ to, tags }: Received): Received | undefined => {
    const own = request(plan, step, step.fallback ?? '', outputs, history)
    const turns: Text = [{ kind: 'step_output', from: to }, ...tags]
    const isAllowed = own && maySeeAll(step.fallback ?? '', turns, plan.policies)
    return isAllowed ? { to: step.fallback ?? '', tags: [...own, ...turns] } : undefined
  }
  // A step whose own provider may not see what it needs is not offered to another.
  if (!first) return { writers: [] }
  const refused = step.fallback === undefined ? 0 : step.refuses === 'all' ? step.samples : step.refuses === 'first' ? 1 : 0
  const answers: Received[] = []
  for (let sample = 0; sample < step.samples; sample++) {
    const isRefused = sample < refused
    const given = isRefused ? receive(step.fallback ?? '') : isLeft ? takenOver(first) : first
    if (given) answers.push(given)
  }
  if (answers.length === 0) return { writers: [] }
  const joined = step.samples > 1
  const writers = [...new Set(answers.map(({ to }) => to))]
  const own: Text = joined ? writers.map((from) => ({ kind: 'step_output', from }) as const) : []
  return { madeFrom: byKey([...own, ...answers.flatMap(({ tags }) => tags)]), writers }
}

/** What one provider receives; undefined where it may not see what the step cannot do without. */
function request(
  plan: ProvenancePlan,
  step: StepDraft,
  to: string,
  outputs: readonly Output[],
  history: readonly Said[],
): Text | undefined {
  const { policies, shareConversationHistory, shareStepOutputs, preserveSystemPrompts, givesInput, givesMetadata } = plan
  const tags: Tag[] = [PROMPT]
  const isFirst = outputs.length === 0
  const add = (text: Text, isNeeded: boolean): boolean => {
    const allowed = maySeeAll(to, text, policies)
    if (allowed) tags.push(...text)
    return allowed || !isNeeded
  }
  if (shareConversationHistory) {
    const readsSystem =
      preserveSystemPrompts || ['history', 'function', 'swallowing', 'everything', 'metadataFunction'].includes(step.reads)
    for (const said of history) {
      if (said.isSystem && !readsSystem) continue
      // A provider has seen what its own message was made from.
      const isOwn = said.from === to && maySeeAll(to, said.tags.slice(0, 1), policies)
      if (isOwn) tags.push(...said.tags)
      else add(said.tags, false)
    }
  }
  if (!givesInput && (isFirst || step.reads === 'original')) add([{ kind: 'attachment' }], false)
  if (['metadata', 'metadataFunction'].includes(step.reads) && !add([{ kind: 'metadata' }], true)) return undefined
  if (step.reads === 'everything' && givesMetadata && !add([{ kind: 'metadata' }], true)) return undefined
  if (!shareStepOutputs) return tags
  // A provider has seen what its own text was made from.
  const addOutput = (output: Output, isNeeded: boolean): boolean => {
    if (!output.writers.length || output.writers.some((writer) => writer !== to)) return add(output.tags, isNeeded)
    tags.push(...output.tags)
    return true
  }
  const nearest = outputs.at(-1) ?? NO_OUTPUT
  const named = outputs[step.k] ?? NO_OUTPUT
  switch (step.reads) {
    // Offered, so that the step goes on without it.
    case 'plain':
    case 'metadata':
    case 'history':
      addOutput(nearest, false)
      return tags
    case 'all':
      for (const output of outputs) addOutput(output, false)
      return tags
    case 'swallowing':
      addOutput(named, false)
      return tags
    case 'previous':
      return addOutput(nearest, true) ? tags : undefined
    case 'everything':
      return outputs.every((output) => addOutput(output, true)) ? tags : undefined
    case 'template':
    case 'samples':
    case 'inputFrom':
    case 'function':
      return addOutput(named, true) ? tags : undefined
    default:
      return tags
  }
}

const byKey = (tags: Text): ReadonlyMap<string, Tag> => new Map(tags.map((tag) => [tagKey(tag), tag]))
