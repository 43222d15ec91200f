import { afterEach, expect, test } from 'vitest'
import type { FlowDefinitionInput } from '../../src/domain/definition/flow-definition.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { createConsensusFlow } from '../../src/index.ts'
import { step } from '../support/flows.ts'
import { lastMessage, type ScriptedFlow, scripted, USER } from '../support/scripted-flow.ts'

let flow: ScriptedFlow | undefined
afterEach(async () => {
  await flow?.polyphony.close()
  flow = undefined
})

const failing = (...ids: readonly string[]) => ({
  replies: ({ messages, system }: { messages: readonly { content: string }[]; system?: string }) => {
    const text = `${system ?? ''} ${messages.at(-1)?.content ?? ''}`
    const id = /do (\w+)/.exec(text)?.[1] ?? 'nobody'
    return ids.includes(id) ? new OrchestratorError('PROVIDER_REJECTED', `no ${id}`) : `answer of ${id}`
  },
})
const branches = [
  step('route'),
  step('red', { dependsOn: ['route'], condition: 'false' }),
  step('green', { dependsOn: ['route'], condition: 'true' }),
]
const statuses = (steps: readonly { stepId: string; status: string }[]) =>
  Object.fromEntries(steps.map(({ stepId, status }) => [stepId, status]))

const GUARDED = [
  'do join {% if steps.red.output %}{{ steps.red.output }}{% endif %}{{ steps.green.output | default: "" }}',
  'do join {{ steps.red.output | default: steps.green.output }}',
  'do join {% unless steps.red.status == "SKIPPED" %}{{ steps.red.output }}{% endunless %}',
  'do join {% for one in steps %}{{ one[0] }}: {{ one[1].output }}; {% endfor %}',
]

test.each(
  (['graph', 'parallel', 'conditional', 'sequential'] as const).flatMap((type) =>
    GUARDED.map((prompt) => [type, prompt] as const),
  ),
)('a join in a %s flow runs with the branch that was taken: %s', async (type, prompt) => {
  flow = await scripted(failing().replies)
  const definition: FlowDefinitionInput = {
    name: 'j',
    type,
    steps: [...branches, step('join', { dependsOn: ['red', 'green'], prompt })],
  }
  expect(await flow.polyphony.orchestrator.checkFlow(definition, USER)).toMatchObject({ ok: true })
  const result = await flow.run(definition)
  expect(result).toMatchObject({ status: 'COMPLETED', finalOutput: 'answer of join' })
  expect(result.steps.at(-1)?.notes.join()).toContain('without the output of step "red"')
})

test('checkFlow reports a join that needs one of its branches as a problem, and a step that continues a single branch as a warning', async () => {
  flow = await scripted([])
  const { orchestrator } = flow.polyphony
  const join = step('join', { prompt: '{{ steps.red.output }} and {{ steps.green.output }}' })
  const told = await orchestrator.checkFlow({ name: 'j', type: 'graph', steps: [...branches, join] }, USER)
  expect(told).toMatchObject({
    ok: false,
    problems: [{ code: 'FLOW_INVALID', path: 'steps[3].prompt', details: { missing: 'red' } }],
  })
  const polish = step('polish', { prompt: '{{ steps.red.output }}' })
  expect(await orchestrator.checkFlow({ name: 'j', type: 'graph', steps: [...branches, polish] }, USER)).toMatchObject({
    ok: true,
    warnings: [{ details: { stepId: 'polish', missing: 'red' } }],
  })
})

test.each([
  ['graph', { dependsOn: ['red'] }],
  ['parallel', {}],
  ['sequential', {}],
] as const)(
  'in a %s flow a condition that reads the output of a skipped or failed step is false, and no paid result is lost',
  async (type, more) => {
    flow = await scripted(failing('lost').replies)
    const steps = [
      step('first'),
      step('red', { condition: 'false' }),
      step('apart', { prompt: 'do apart' }),
      step('lost', { optional: true }),
      step('onRed', { ...more, condition: 'steps.red.output.contains("answer") || steps.lost.parsed.score > 0.5' }),
      step('between', { prompt: 'do between' }),
      step('onFirst', { condition: 'steps.red.output == "x" || steps.first.output.contains("answer")' }),
    ]
    const result = await flow.run({ name: 'c', type, steps })
    expect(statuses(result.steps)).toMatchObject({
      first: 'SUCCESS',
      red: 'SKIPPED',
      lost: 'FAILED',
      onRed: 'SKIPPED',
      onFirst: 'SUCCESS',
    })
  },
)

test('a branch whose condition reads the output of a skipped step does not match, and the default branch runs', async () => {
  flow = await scripted(failing().replies)
  const steps = [
    step('first'),
    step('red', { condition: 'false' }),
    step('green', { otherwise: true }),
    step('between', { prompt: 'do between' }),
    step('onRed', { condition: '!steps.red.output.contains("x")' }),
    step('other', { otherwise: true }),
  ]
  const result = await flow.run({ name: 'c', type: 'conditional', steps })
  expect(statuses(result.steps)).toMatchObject({ red: 'SKIPPED', onRed: 'SKIPPED', other: 'SUCCESS' })
})

test('a join whose inputs were all skipped is skipped, and the flow ends with the earlier output', async () => {
  flow = await scripted(failing().replies)
  const none = branches.map((one) => (one.id === 'route' ? one : { ...one, condition: 'false' }))
  const result = await flow.run({ name: 'j', type: 'graph', steps: [...none, step('join', { dependsOn: ['red', 'green'] })] })
  expect(statuses(result.steps)).toMatchObject({ join: 'SKIPPED' })
  expect(result.finalOutput).toBe('answer of route')
})

test('with onFailure continue a failure in the second row skips only the steps that depend on it alone', async () => {
  flow = await scripted(failing('b').replies)
  const steps = [
    step('a'),
    step('b', { dependsOn: ['a'] }),
    step('c', { dependsOn: ['a'] }),
    step('onlyB', { dependsOn: ['b'] }),
    step('both', { dependsOn: ['b', 'c'] }),
  ]
  const result = await flow.run({ name: 'g', type: 'graph', parallel: { onFailure: 'continue' }, steps })
  expect(statuses(result.steps)).toEqual({ a: 'SUCCESS', b: 'FAILED', c: 'SUCCESS', onlyB: 'SKIPPED', both: 'SUCCESS' })
  expect(result.finalOutput).toBe('answer of both')
})

test('a definition that demands more successes than it has branches is rejected', async () => {
  flow = await scripted([])
  const definition: FlowDefinitionInput = {
    name: 'g',
    type: 'graph',
    parallel: { minSuccesses: 3 },
    steps: [step('a'), step('b'), step('end', { dependsOn: ['a', 'b'] })],
  }
  expect(await flow.polyphony.orchestrator.checkFlow(definition, USER)).toMatchObject({
    ok: false,
    problems: [{ code: 'FLOW_INVALID', path: 'parallel.minSuccesses', message: expect.stringContaining('at most 2') }],
  })
})

test('with onFailure continue the failure of the only last step fails the flow with its code', async () => {
  flow = await scripted(failing('end').replies)
  const steps = [step('a'), step('b'), step('end', { dependsOn: ['a', 'b'] })]
  const run = flow.run({ name: 'g', type: 'graph', parallel: { onFailure: 'continue' }, steps })
  await expect(run).rejects.toMatchObject({ code: 'PROVIDER_REJECTED', details: { stepId: 'end' } })
})

const panelOf = (models: readonly string[], quorum?: number) =>
  createConsensusFlow({
    models: models.map((model) => ({ provider: 'scripted', model })),
    judge: { provider: 'scripted', model: 'chair' },
    ...(quorum === undefined ? {} : { quorum }),
  })
const panelWithout = (...down: readonly string[]) =>
  scripted(({ model }) =>
    down.includes(model) ? new OrchestratorError('PROVIDER_REJECTED', `no ${model}`) : `answer of ${model}`,
  )

test('a panel continues without a member that fails, and the chair and the result name it', async () => {
  flow = await panelWithout('m2')
  const result = await flow.run(panelOf(['m1', 'm2', 'm3']))
  expect(result).toMatchObject({ status: 'COMPLETED', finalOutput: 'answer of chair' })
  expect(lastMessage(flow.provider, 3)).toContain('Answer B is missing')
  expect(lastMessage(flow.provider, 3)).toContain('answer of m3')
  expect(result.steps.at(-1)?.notes.join()).toContain('"proposalB": it failed with PROVIDER_REJECTED')
})

test('a panel below its quorum fails and names every member that failed', async () => {
  flow = await panelWithout('m1', 'm2')
  const error = await flow.run(panelOf(['m1', 'm2', 'm3'])).catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({
    code: 'PROVIDER_REJECTED',
    details: { failures: [{ stepId: 'proposalA' }, { stepId: 'proposalB' }] },
  })
})

test('a panel whose quorum is one continues with a single member', async () => {
  flow = await panelWithout('m1', 'm2')
  expect(await flow.run(panelOf(['m1', 'm2', 'm3'], 1))).toMatchObject({ finalOutput: 'answer of chair' })
})

test('maxConcurrency counts every sample of a step', async () => {
  let underWay = 0
  let most = 0
  flow = await scripted(async () => {
    most = Math.max(most, ++underWay)
    await new Promise((resolve) => setTimeout(resolve, 2))
    underWay--
    return 'ok'
  })
  await flow.run({ name: 's', type: 'parallel', parallel: { maxConcurrency: 2 }, steps: [step('a', { samples: 5 }), step('b')] })
  expect(flow.provider.requests).toHaveLength(6)
  expect(most).toBe(2)
})

test('a step with many samples runs ten of them at a time where the flow states no limit', async () => {
  let underWay = 0
  let most = 0
  flow = await scripted(async () => {
    most = Math.max(most, ++underWay)
    await new Promise((resolve) => setTimeout(resolve, 2))
    underWay--
    return 'ok'
  })
  await flow.run({ name: 's', type: 'sequential', steps: [step('a', { samples: 25 })] })
  expect(flow.provider.requests).toHaveLength(25)
  expect(most).toBe(10)
})

test('a failed sample is named and leaves the choice to the others', async () => {
  flow = await scripted(['42', new OrchestratorError('PROVIDER_REJECTED', 'no'), '42'])
  const result = await flow.run({ name: 's', type: 'sequential', steps: [step('vote', { samples: 3 })] })
  expect(result.finalOutput).toBe('42')
  expect(result.steps[0]?.notes).toContain('sample 2 gave no answer: PROVIDER_REJECTED')
})

test('a condition function holds when it returns a truthy value', async () => {
  flow = await scripted(failing().replies)
  const steps = [step('a'), step('b', { condition: () => undefined }), step('c', { condition: () => 'yes' })]
  expect(statuses((await flow.run({ name: 's', type: 'sequential', steps })).steps)).toEqual({
    a: 'SUCCESS',
    b: 'SKIPPED',
    c: 'SUCCESS',
  })
})
