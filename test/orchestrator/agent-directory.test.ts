import { expect, test } from 'vitest'
import { createAgents } from '../../src/composition/create-agents.ts'
import { BUILT_IN_ROLES } from '../../src/domain/agents/built-in-roles.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { createParser } from '../../src/polyphony.ts'
import { configOf } from '../support/agents.ts'
import { caught } from '../support/caught.ts'

const AGENT_ROLES = ['backend', 'coordinator', 'debugger', 'frontend', 'qa'] as const

const flowOf = (...steps: readonly object[]) => ({
  name: 'agents',
  type: 'sequential',
  steps: steps.map((step, index) => ({ id: `step${index}`, action: 'generate', prompt: 'original', ...step })),
})
const open = async (input: Parameters<typeof configOf>[0] = { simulator: true }) => {
  const agents = createAgents(await configOf(input))
  return { agents, parse: createParser(agents.presets).parse }
}
const problemsOf = (thrown: unknown): unknown => (OrchestratorError.is(thrown) ? thrown.details.problems : undefined)

test('the five roles exist without a configuration, each with a prompt and capabilities of its own', async () => {
  const { agents, parse } = await open()
  expect(agents.list().map(({ id }) => id)).toEqual([...AGENT_ROLES])
  for (const role of AGENT_ROLES) {
    const [step] = parse(flowOf({ agent: role })).steps
    expect(step?.system, role).toBe(BUILT_IN_ROLES[role].system)
    expect(agents.get(role).capabilities).toContain(role)
  }
  expect(new Set(AGENT_ROLES.map((role) => BUILT_IN_ROLES[role].system)).size).toBe(5)
})

test('the configuration replaces single fields of a role and keeps the others', async () => {
  const { agents, parse } = await open({
    simulator: true,
    agents: { qa: { system: 'Only count lines.' }, own: { system: 'Mine.' } },
  })
  expect(agents.get('qa')).toMatchObject({ name: 'Quality engineer', system: 'Only count lines.' })
  expect(agents.get('qa').capabilities).toContain('testing')
  expect(parse(flowOf({ agent: 'qa' }, { agent: 'own' })).steps.map(({ system }) => system)).toEqual([
    'Only count lines.',
    'Mine.',
  ])
})

test('an agent without a model gets the strong model of the first vendor with a key, in a fixed order', async () => {
  const targetOf = async (input: Parameters<typeof configOf>[0]) => {
    const [step] = (await open(input)).parse(flowOf({ agent: 'qa' })).steps
    return `${step?.provider}/${step?.model}`
  }
  const keyed = { apiKey: 'test-key' }
  expect(await targetOf({ providers: { google: keyed, anthropic: keyed, openai: keyed } })).toBe('openai/gpt-6-sol')
  expect(await targetOf({ providers: { google: keyed, anthropic: keyed } })).toBe('anthropic/claude-opus-5-5')
  expect(await targetOf({ providers: { google: keyed } })).toBe('google/gemini-3.8-flash')
  expect(await targetOf({ providers: { mine: { ...keyed, kind: 'openai' } } })).toBe('mine/gpt-6-sol')
  expect(await targetOf({ providers: { openai: keyed }, agents: { qa: { model: 'anthropic/claude-sonnet-5' } } })).toBe(
    'anthropic/claude-sonnet-5',
  )
  expect(await targetOf({ simulator: true })).toBe('openai/gpt-6-sol')
  expect(await targetOf({ providers: { mistral: keyed, xai: keyed } })).toBe('xai/grok-4.5')
  expect(await targetOf({ providers: { deepseek: keyed, mistral: keyed } })).toBe('mistral/mistral-large-2512')
  expect(await targetOf({ providers: { mine: { ...keyed, preset: 'deepseek' } } })).toBe('mine/deepseek-chat')
  for (const [id, account] of [['openai', { ...keyed, active: false }] as const, ['groq', keyed] as const]) {
    const { parse } = await open({ providers: { [id]: account } })
    expect(problemsOf(caught(() => parse(flowOf({ agent: 'qa' }))))).toMatchObject([
      { path: 'steps[0].model', message: expect.stringMatching(/set OPENAI_API_KEY.*agents\.<agent>\.model/) },
    ])
  }
})

test('a registered agent is known to the next definition, and no longer after it was removed', async () => {
  const { agents, parse } = await open()
  agents.register({ id: 'poet', system: 'You write verse.', capabilities: ['verse'], settings: { temperature: 1 } })
  expect(agents.get('poet')).toMatchObject({ name: 'poet', weight: 1 })
  expect(parse(flowOf({ agent: 'poet' })).steps[0]).toMatchObject({ system: 'You write verse.', settings: { temperature: 1 } })
  expect(caught(() => agents.register({ id: 'poet' }))).toMatchObject({ code: 'AGENT_EXISTS', details: { agentId: 'poet' } })
  agents.unregister('poet')
  expect(problemsOf(caught(() => parse(flowOf({ agent: 'poet' }))))).toMatchObject([{ path: 'steps[0].agent' }])
  expect(caught(() => agents.get('qaa'))).toMatchObject({ code: 'AGENT_NOT_FOUND', details: { suggestion: 'qa' } })
  expect(caught(() => agents.unregister('poet'))).toMatchObject({ code: 'AGENT_NOT_FOUND' })
  const invalid: readonly [never, string] = JSON.parse('[{"id":"x","sytem":"typo"},"sytem"]')
  expect(caught(() => agents.register(invalid[0]))).toMatchObject({
    code: 'INPUT_INVALID',
    message: expect.stringContaining(invalid[1]),
  })
})

test('a step that names what it needs gets an agent that has all of it', async () => {
  const { agents, parse } = await open()
  agents.register({ id: 'reviewer', system: 'R', capabilities: ['review', 'security'] })
  const [step, again] = parse(flowOf({ needs: ['review', 'security'] }, { needs: ['testing'] })).steps
  expect(step).toMatchObject({ agent: 'reviewer', system: 'R' })
  expect(again).toMatchObject({ agent: 'qa' })
  const own = parse(flowOf({ needs: ['security'], model: 'google/gemini-3.8-flash' })).steps[0]
  expect(own).toMatchObject({ provider: 'google', model: 'gemini-3.8-flash', system: 'R' })
})

test('equal steps get the same agent in every process, and many steps follow the weights', async () => {
  const chosen = async () => {
    const { agents, parse } = await open()
    agents.register({ id: 'heavy', system: 'H', capabilities: ['work'], weight: 3 })
    agents.register({ id: 'light', system: 'L', capabilities: ['work'], weight: 1 })
    agents.register({ id: 'never', system: 'N', capabilities: ['work'], weight: 0 })
    const steps = Array.from({ length: 400 }, (_, index) => ({ id: `s${index}`, needs: ['work'] }))
    return parse({ ...flowOf(...steps), contextPolicy: { shareStepOutputs: false } }).steps.map(({ agent }) => agent)
  }
  const [first, second] = [await chosen(), await chosen()]
  expect(first).toEqual(second)
  const heavy = first.filter((agent) => agent === 'heavy').length
  expect(heavy).toBeGreaterThan(260)
  expect(heavy).toBeLessThan(340)
  expect(first).not.toContain('never')
})

test('needs that no agent meets are problems that name what is known', async () => {
  const { parse } = await open()
  const problemOf = (step: object) => problemsOf(caught(() => parse(flowOf(step))))
  expect(problemOf({ needs: ['testng'] })).toMatchObject([
    { path: 'steps[0].needs', message: expect.stringContaining('"testing"'), suggestion: 'testing' },
  ])
  expect(problemOf({ needs: ['testing', 'react'] })).toMatchObject([
    { message: 'no single agent has all of the capabilities "testing", "react"' },
  ])
  expect(problemOf({ agent: 'qa', needs: ['react'] })).toMatchObject([
    { message: 'agent "qa" does not have all of the capabilities "react"' },
  ])
})
