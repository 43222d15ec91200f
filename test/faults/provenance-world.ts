import * as z from 'zod'
import type { FlowUpdate } from '../../src/domain/execution/flow-update.ts'
import type { ModelRequest } from '../../src/domain/execution/model-call.ts'
import type { StepResult } from '../../src/domain/execution/step-result.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import type { Polyphony } from '../../src/polyphony.ts'
import type { Provider } from '../../src/providers/provider.ts'
import { createScriptedProvider, type ScriptedAnswer } from '../../src/providers/scripted.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { calling, createToolProvider } from '../support/tool-world.ts'
import type { Tag } from './provenance-oracle.ts'
import {
  FUNCTIONS,
  IN_HOUSE,
  IN_PROCESS,
  idOf,
  PROVIDERS,
  type ProvenancePlan,
  rerunFrom,
  SERVICE,
  toDefinition,
} from './provenance-plans.ts'

/** A marked text: what it is, and for an output the run and step that wrote it. */
export interface Marked extends Tag {
  readonly run?: number
  readonly stepId?: string
}

/** One request that reached a provider, with every canary in it. */
export interface Arrival {
  readonly run: number
  readonly stepId: string
  readonly to: string
  readonly canaries: readonly string[]
}

export interface Ran {
  readonly steps: readonly StepResult[]
  readonly error?: OrchestratorError
}

export interface ProvenanceWorld {
  readonly polyphony: Polyphony
  readonly sources: ReadonlyMap<string, Marked>
  readonly arrivals: readonly Arrival[]
  /** Runs the plan, a second time where it says so. */
  play(plan: ProvenancePlan, name: string): Promise<readonly Ran[]>
}

const CANARY = /canary-\d+-end/g
export const canariesIn = (text: string): readonly string[] => [...new Set(text.match(CANARY) ?? [])]

/**
 * Providers whose answers, and arguments of tools, repeat every canary they received and add one of their own, so that
 * texts really go on. The operations do the same.
 */
export async function openProvenanceWorld(): Promise<ProvenanceWorld> {
  const sources = new Map<string, Marked>()
  const arrivals: Arrival[] = []
  const refusals = new Map<string, number>()
  const refusesAfterTool = new Set<string>()
  /** Ids of the steps that run an operation. */
  const operationSteps = new Set<string>()
  let run = 0
  const mark = (marked: Marked): string => {
    const canary = `canary-${sources.size}-end`
    sources.set(canary, marked)
    return canary
  }

  const answer = (
    to: string,
    { system = '', messages, tools = [] }: ModelRequest,
  ): string | ScriptedAnswer | OrchestratorError => {
    const texts = messages.map(({ content }) => content)
    const stepId = /STEP\((\w+)\)/.exec(system)?.[1] ?? ''
    const canaries = canariesIn([system, ...texts].join('\n'))
    arrivals.push({ run, stepId, to, canaries })
    const isAfterTool = messages.some(({ role }) => role === 'tool')
    if (isAfterTool && refusesAfterTool.has(`${stepId} ${to}`)) return new OrchestratorError('PROVIDER_REJECTED', 'no')
    const left = refusals.get(`${stepId} ${to}`) ?? 0
    if (left > 0) {
      refusals.set(`${stepId} ${to}`, left - 1)
      return new OrchestratorError('PROVIDER_REJECTED', 'no')
    }
    const text = `Said: ${[...canaries, mark({ kind: 'step_output', from: to, run, stepId })].join(' ')}`
    const [tool] = isAfterTool ? [] : tools
    return tool ? calling([tool.name, { text }]) : text
  }
  const createOperations = (id: string) =>
    createToolProvider(
      id,
      {
        note: {
          input: z.strictObject({ text: z.string() }),
          run: ({ text }, { origin }) => {
            const stepId = origin?.stepId ?? ''
            const canaries = canariesIn(String(text))
            arrivals.push({ run, stepId, to: id, canaries })
            const kind = operationSteps.has(stepId) ? 'step_output' : 'tool_result'
            return `Noted: ${[...canaries, mark({ kind, from: id, run, stepId })].join(' ')}`
          },
        },
      },
      { inProcess: id === FUNCTIONS },
    )
  const createProvider = (id: string): Provider => ({
    ...createScriptedProvider({ id, replies: (request) => answer(id, request) }),
    ...(id === IN_PROCESS && { inProcess: true }),
    ...(id === IN_HOUSE && { inHouse: true }),
  })
  const providers = {
    ...Object.fromEntries(PROVIDERS.map((id) => [id, createProvider(id)])),
    ...Object.fromEntries([SERVICE, FUNCTIONS].map((id) => [id, createOperations(id)])),
  }
  const polyphony = await openTestPolyphony({ providers })

  async function createThread(plan: ProvenancePlan, user: string): Promise<string> {
    const { conversations, dataSharing } = polyphony
    for (const [id, rules] of Object.entries(plan.policies)) if (rules) await dataSharing.set(user, id, rules)
    const { id: threadId } = await conversations.createThread(user, {})
    for (const { role, from } of plan.history) {
      const content = `Earlier: ${mark({ kind: 'conversation_history', from })}`
      await conversations.addMessage(threadId, user, { role, content, ...(from && { metadata: { provider: from } }) })
    }
    if (plan.givesInput) return threadId
    const text = mark({ kind: 'attachment' })
    const attachments = [{ name: 'notes.txt', mediaType: 'text/plain', text }]
    await conversations.addMessage(threadId, user, {
      role: 'user',
      content: `Asked: ${mark({ kind: 'original_prompt' })}`,
      attachments,
    })
    return threadId
  }

  async function execute(plan: ProvenancePlan, flowId: string, user: string, options: object): Promise<Ran> {
    const { orchestrator } = polyphony
    refusals.clear()
    refusesAfterTool.clear()
    operationSteps.clear()
    for (const [index, step] of plan.steps.entries()) {
      if (step.runs) operationSteps.add(idOf(index))
      if (step.fallback && step.refuses === 'afterTool') refusesAfterTool.add(`${idOf(index)} ${step.provider}`)
      const times = step.fallback === undefined ? 0 : { none: 0, first: 1, all: step.samples, afterTool: 0 }[step.refuses]
      refusals.set(`${idOf(index)} ${step.provider}`, times)
    }
    const decided: Promise<unknown>[] = []
    const onUpdate = (update: FlowUpdate) => {
      if (update.type !== 'flow_paused') return
      decided.push(...update.data.waits.map(({ path }) => orchestrator.signal(flowId, user, path, { approved: true })))
    }
    const error = await orchestrator.executeFlow(flowId, user, { saveMessages: true, onUpdate, ...options }).then(
      () => undefined,
      (reason: unknown) => {
        if (OrchestratorError.is(reason)) return reason
        throw reason
      },
    )
    await Promise.all(decided)
    return { steps: (await orchestrator.getFlow(flowId, user)).stepResults, error }
  }

  return {
    polyphony,
    sources,
    arrivals,
    async play(plan, user) {
      const { orchestrator } = polyphony
      arrivals.length = 0
      const threadId = await createThread(plan, user)
      const options = {
        ...(plan.givesInput && { input: `Asked: ${mark({ kind: 'original_prompt' })}` }),
        ...(plan.givesMetadata && { metadata: { note: mark({ kind: 'metadata' }) } }),
      }
      run = 1
      const flow = await orchestrator.createFlow(threadId, user, toDefinition(plan))
      const first = await execute(plan, flow.id, user, options)
      const from = rerunFrom(plan)
      if (plan.second === 'none' || (from !== undefined && first.error)) return [first]
      run = 2
      if (from === undefined) {
        const again = await orchestrator.createFlow(threadId, user, toDefinition(plan))
        return [first, await execute(plan, again.id, user, options)]
      }
      const rerun = await orchestrator.rerunFlow(flow.id, user, { fromStep: idOf(from) })
      return [first, await execute(plan, rerun.id, user, {})]
    },
  }
}
