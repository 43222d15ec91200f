import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { FlowExecutionResult } from '../../src/domain/execution/flow-result.ts'
import type { FlowUpdate } from '../../src/domain/execution/flow-update.ts'
import type { DataSharingRules } from '../../src/domain/users/sharing.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import type { Polyphony } from '../../src/polyphony.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { casesOf, SEED } from '../support/scale.ts'
import { type Combination, combinationWithServices, toDefinition } from './canary-flows.ts'
import {
  type CanaryVendors,
  createCanaryVendors,
  IN_HOUSE,
  isAllowed,
  OUTSIDE,
  POOL,
  PROVIDERS,
  type Rules,
  VENDOR_WIRES,
  VENDORS,
  withheldUpdates,
} from './canary-vendors.ts'
import { unlessHung, watchProcess } from './observation.ts'

const COMBINATIONS = casesOf(500, 100)
const ALLOW_ALL: DataSharingRules = { allowConversationHistory: true, allowCrossProviderContext: true, allowAttachments: true }
const NAMING = ['step', 'previous', 'samples']
const observed = watchProcess()

let vendors: CanaryVendors
let polyphony: Polyphony
let folder: string
beforeAll(async () => {
  vendors = await createCanaryVendors()
  const providers = Object.fromEntries(
    VENDORS.map((id) => [id, VENDOR_WIRES[id]?.settings(`${vendors.server.url}/${id}`, 'sk-key') ?? {}]),
  )
  const members = [IN_HOUSE, OUTSIDE, 'alpha'].map((id) => ({ model: `${id}/${VENDOR_WIRES[id]?.model}` }))
  // The members of a pool must be known from files.
  folder = mkdtempSync(join(tmpdir(), 'polyphony-canaries-'))
  for (const id of [IN_HOUSE, OUTSIDE]) {
    writeFileSync(join(folder, `${id}.json`), JSON.stringify(serviceOf(id, 'first')), { mode: 0o600 })
  }
  const pools = { mixed: { strategy: 'round_robin' as const, members } }
  polyphony = await openTestPolyphony({ providers, pools, services: { dir: folder, dataDir: join(folder, 'data') } })
  await polyphony.services.startAll()
})
afterAll(async () => {
  await polyphony.close()
  await vendors.server.close()
  rmSync(folder, { recursive: true, force: true })
})

const serviceOf = (id: string, path: string) => ({
  id,
  type: 'llm' as const,
  endpoint: `${vendors.server.url}/${id}/${path}`,
  provider: { kind: 'openai-compatible' as const, inHouse: id === IN_HOUSE },
})

/** Registers the services at another address than before. */
async function moveServices(path: string): Promise<void> {
  const { services } = polyphony
  for (const id of [IN_HOUSE, OUTSIDE]) {
    await services.remove(id)
    await services.register(serviceOf(id, path))
    await services.start(id)
  }
}

interface Ran {
  readonly run: string
  readonly rules: Rules
  readonly updates: readonly FlowUpdate[]
  readonly result?: FlowExecutionResult
  readonly error?: OrchestratorError
  readonly flowId: string
  readonly user: string
}

/** A thread full of marked texts, and the flow of the combination run twice in it: the second run finds the first one's answers in the history. */
async function runTwice(plan: Combination, name: string): Promise<readonly Ran[]> {
  const { conversations, dataSharing } = polyphony
  const user = `user-${name}`
  const { id: threadId } = await conversations.createThread(user, {})
  for (const provider of PROVIDERS) {
    await dataSharing.set(`other-${name}`, provider, ALLOW_ALL)
    const policy = plan.policies[provider]
    if (policy) await dataSharing.set(user, provider, policy)
  }
  const foreign = await conversations.createThread(user, {})
  await conversations.addMessage(foreign.id, user, { role: 'user', content: vendors.mark({ kind: 'stranger' }) })
  const say = (role: 'user' | 'assistant' | 'system', from?: string) =>
    conversations.addMessage(threadId, user, {
      role,
      content: `Said: ${vendors.mark({ kind: 'history', run: name, from })}`,
      metadata: { ...(from && { provider: from }), remark: vendors.mark({ kind: 'history', run: name, from }) },
      attachments: [{ name: 'old.txt', mediaType: 'text/plain', text: vendors.mark({ kind: 'attachment', run: name }) }],
    })
  await say('system')
  await say('user')
  for (const provider of PROVIDERS) await say('assistant', provider)
  await conversations.addMessage(threadId, user, {
    role: 'user',
    content: 'The question.',
    ...(!plan.givenInput && {
      attachments: [{ name: 'new.txt', mediaType: 'text/plain', text: vendors.mark({ kind: 'attachment', run: name }) }],
    }),
  })
  const first = await runOnce(plan, `${name}a`, user, threadId)
  return [first, await runOnce(plan, `${name}b`, user, threadId)]
}

async function runOnce(plan: Combination, run: string, user: string, threadId: string): Promise<Ran> {
  const { orchestrator } = polyphony
  plan.steps.forEach(({ refused, provider }, index) => {
    if (refused) vendors.refuse(run, `s${index}`, provider === POOL ? OUTSIDE : provider)
  })
  const flow = await orchestrator.createFlow(threadId, user, toDefinition(plan, run))
  const updates: FlowUpdate[] = []
  const { shareConversationHistory, shareStepOutputs } = plan.contextPolicy
  const rules: Rules = { policies: plan.policies, shareConversationHistory, shareStepOutputs }
  const ran = { run, rules, updates, flowId: flow.id, user }
  const options = {
    streaming: plan.streaming,
    saveMessages: true,
    onUpdate: (update: FlowUpdate) => updates.push(update),
    ...(plan.givenInput && { input: 'The question.' }),
  }
  try {
    return { ...ran, result: await unlessHung(orchestrator.executeFlow(flow.id, user, options), run) }
  } catch (error) {
    if (!OrchestratorError.is(error)) throw error
    return { ...ran, error }
  }
}

const counts = {
  forbidden: 0,
  ownOutput: 0,
  crossOutput: 0,
  history: 0,
  attachment: 0,
  denied: 0,
  completed: 0,
  required: 0,
  inHouse: 0,
  pooled: 0,
}

function judgeArrivals({ run, rules }: Ran): void {
  for (const { to, stepId, canaries } of vendors.arrivals.filter((arrival) => arrival.run === run)) {
    for (const canary of canaries) {
      const source = vendors.sources.get(canary)
      if (!source) throw new Error(`unknown ${canary}`)
      const allowed = isAllowed(source, run, to, rules)
      if (!allowed) counts.forbidden++
      expect({ run, stepId, to, source, allowed }).toMatchObject({ allowed: true })
      if (to === IN_HOUSE && !isAllowed(source, run, OUTSIDE, { ...rules, policies: {} })) counts.inHouse++
      if (source.kind === 'attachment') counts.attachment++
      else if (source.kind === 'output' && source.run === run) counts[source.from === to ? 'ownOutput' : 'crossOutput']++
      else counts.history++
    }
  }
}

function judgeError({ error, rules }: Ran): void {
  if (!error) return
  expect(['DATA_SHARING_DENIED', 'PROVIDER_REJECTED', 'STEP_FAILED', 'NO_BRANCH_MATCHED']).toContain(error.code)
  if (error.code !== 'DATA_SHARING_DENIED') return
  counts.denied++
  expect(error.details).toMatchObject({ stepId: expect.any(String), piece: expect.any(String), to: expect.any(String) })
  const { from, to, rule } = error.details
  expect(from).not.toBe(to)
  expect(to).not.toBe(IN_HOUSE)
  // What an output was made from is decided by rules of its own.
  const policy = rules.policies[String(to)]
  if (rule === 'no_policy') {
    expect(policy).toBeUndefined()
    return
  }
  const denying = (['allowCrossProviderContext', 'allowConversationHistory', 'allowAttachments'] as const).find(
    (known) => known === rule,
  )
  expect(denying).toBeDefined()
  expect(denying && policy?.[denying]).toBe(false)
}

async function judgeRecords(plan: Combination, { run, flowId, user, updates, rules }: Ran): Promise<void> {
  const { stepResults } = await polyphony.orchestrator.getFlow(flowId, user)
  const isLoop = plan.type === 'critique' || plan.type === 'refinement'
  for (const step of stepResults) {
    const stepPlan = plan.steps[Number(step.stepId.slice(1))]
    for (const { allowed, kind, from, to, rule } of step.sharing) {
      if (!allowed || kind !== 'step_output') continue
      const isRight =
        { own_output: from === to, in_house: to === IN_HOUSE }[rule] ?? rules.policies[to]?.allowCrossProviderContext
      expect({ rule, isRight }).toMatchObject({ isRight: true })
    }
    expect(step.withheld).toEqual(step.sharing.filter(({ allowed }) => !allowed))
    if (step.status !== 'SUCCESS') continue
    if (stepPlan?.provider === POOL) counts.pooled++
    // A step that names an output by its id either got it whole or failed.
    const named = NAMING.includes(stepPlan?.prompt ?? '') && step.stepId !== 's0' && rules.shareStepOutputs
    if (named && plan.contextPolicy.maxSharedTokens === 10_000) {
      const arrival = vendors.arrivals.find((one) => one.run === run && one.stepId === step.stepId)
      const sources = arrival?.canaries.map((canary) => vendors.sources.get(canary))
      expect(sources).toContainEqual(expect.objectContaining({ kind: 'output', run }))
      counts.required++
    }
    // Several members of a pool may have been offered the same texts.
    if (isLoop || stepPlan?.refused || step.samples || stepPlan?.provider === POOL) continue
    expect(withheldUpdates(updates, step.stepId)).toEqual(step.withheld.map(({ kind, piece, to }) => `${kind} ${piece} ${to}`))
  }
}

test(`in ${COMBINATIONS} generated combinations no provider receives a context item that its policy forbids`, {
  timeout: 600_000,
}, async () => {
  const plans = fc.sample(combinationWithServices, { numRuns: COMBINATIONS, seed: SEED })
  for (const [index, plan] of plans.entries()) {
    vendors.arrivals.length = 0
    // A service at another address is decided about as before.
    if (index % 10 === 9) await moveServices(`moved-${index}`)
    for (const ran of await runTwice(plan, `c${index}`)) {
      if (ran.result) counts.completed++
      judgeArrivals(ran)
      judgeError(ran)
      await judgeRecords(plan, ran)
    }
  }
  expect(counts.forbidden).toBe(0)
  for (const kind of [
    'ownOutput',
    'crossOutput',
    'history',
    'attachment',
    'denied',
    'completed',
    'required',
    'inHouse',
    'pooled',
  ] as const) {
    expect(counts[kind], `${kind}, seed ${SEED}`).toBeGreaterThan(COMBINATIONS / 25)
  }
  expect(observed.rejections).toEqual([])
})
