import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { FlowDefinitionInput } from '../../src/domain/definition/flow-definition.ts'
import type { StepResult } from '../../src/domain/execution/step-result.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { executors } from '../../src/executors/registry.ts'
import { createStepSources } from '../../src/orchestrator/inspect/step-sources.ts'
import { createParser, type Polyphony } from '../../src/polyphony.ts'
import { stepPlanOf } from '../../src/prompts/step-plan.ts'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { type Combination, combination, PROMPTS, toDefinition } from '../faults/canary-flows.ts'
import { openTestPolyphony } from '../support/polyphony.ts'

const PROVIDERS = ['alpha', 'beta', 'gamma'] as const
const DEFINITIONS = 500
const SEED = 20_261_128
const parser = createParser()

/** Prompts that are data: what a prompt function reads is decided when it runs, so that no check before the run can know it. */
const DATA_PROMPTS = Object.entries(PROMPTS).flatMap(([name, write]) => (typeof write('s0') === 'function' ? [] : [name]))

let polyphony: Polyphony
const refusals = new Set<string>()
beforeAll(async () => {
  const providers = PROVIDERS.map((id) => [
    id,
    createScriptedProvider({
      id,
      replies: ({ system = '' }, index) => {
        const [, run = '', stepId = ''] = /RUN\((.*)\)STEP\((.*)\)/.exec(system) ?? []
        if (refusals.delete(`${run} ${stepId}`)) return new OrchestratorError('PROVIDER_REJECTED', 'refused by the script')
        return JSON.stringify({ issues: [], feedback: `canary of ${stepId}`, score: (index % 7) / 6, approved: index % 5 === 0 })
      },
    }),
  ])
  polyphony = await openTestPolyphony({ providers: Object.fromEntries(providers) })
})
afterAll(() => polyphony.close())

interface Run {
  readonly definition: FlowDefinitionInput
  readonly isOk: boolean
  readonly steps: readonly StepResult[]
}

/** Runs a definition without fallbacks: which provider would answer instead is known only when the first has failed. */
async function run(plan: Combination, name: string, prompts: readonly string[]): Promise<Run> {
  const { orchestrator, conversations, dataSharing } = polyphony
  const steps = plan.steps.map((step, index) => ({
    ...step,
    fallback: undefined,
    prompt: prompts.includes(step.prompt) ? step.prompt : (prompts[index] ?? 'input'),
  }))
  const definition = toDefinition({ ...plan, steps }, name)
  for (const id of PROVIDERS) {
    const rules = plan.policies[id]
    if (rules) await dataSharing.set(name, id, rules)
  }
  plan.steps.forEach(({ refused }, index) => {
    if (refused) refusals.add(`${name} s${index}`)
  })
  const { ok } = await orchestrator.checkFlow(definition, name)
  const { id: threadId } = await conversations.createThread(name, {})
  const flow = await orchestrator.createFlow(threadId, name, definition)
  await orchestrator.executeFlow(flow.id, name, { input: 'The question.' }).catch((error: unknown) => {
    if (!OrchestratorError.is(error)) throw error
  })
  return { definition, isOk: ok, steps: (await orchestrator.getFlow(flow.id, name)).stepResults }
}

test('the plan of a step contains every output that it reads or is offered', { timeout: 30_000 }, async () => {
  let reads = 0
  for (const [index, plan] of fc.sample(combination, { numRuns: DEFINITIONS, seed: SEED }).entries()) {
    const ran = await run(plan, `read${index}`, Object.keys(PROMPTS))
    const definition = parser.parse(ran.definition)
    const sourcesOf = createStepSources(definition, executors[definition.type])
    for (const { stepId, sharing } of ran.steps) {
      const step = definition.steps.find(({ id }) => id === stepId)
      if (!step) throw new Error(`no step ${stepId}`)
      if (stepPlanOf(definition, step).offersAll) continue
      const planned = sourcesOf(step).map(({ source }) => source.id)
      for (const { kind, piece } of sharing) {
        const from = piece.replace(/#\d+$/, '')
        if (kind !== 'step_output' || from === stepId) continue
        reads++
        expect(planned, JSON.stringify({ ...ran.definition, stepId })).toContain(from)
      }
    }
  }
  expect(reads).toBeGreaterThan(500)
})

test('a definition that checkFlow accepts is never stopped by data sharing', { timeout: 30_000 }, async () => {
  const counts = { ok: 0, denied: 0 }
  for (const [index, plan] of fc.sample(combination, { numRuns: DEFINITIONS, seed: SEED + 1 }).entries()) {
    const { isOk, steps, definition } = await run(plan, `check${index}`, DATA_PROMPTS)
    const isDenied = steps.some(({ error }) => error?.code === 'DATA_SHARING_DENIED')
    if (isOk) counts.ok++
    if (isDenied) counts.denied++
    expect({ isOk, isDenied }, JSON.stringify(definition)).not.toEqual({ isOk: true, isDenied: true })
  }
  expect(counts.ok).toBeGreaterThan(80)
  expect(counts.denied).toBeGreaterThan(80)
})
