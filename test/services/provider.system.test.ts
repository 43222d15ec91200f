import { afterEach, beforeEach, expect, test } from 'vitest'
import type { FlowDefinitionInput } from '../../src/domain/definition/flow-definition.ts'
import type { Polyphony } from '../../src/polyphony.ts'
import { rejection } from '../support/caught.ts'
import { createModelServers } from './model-servers.ts'
import { until } from './process-world.ts'

let world: ReturnType<typeof createModelServers>
beforeEach(() => {
  world = createModelServers()
})
afterEach(async () => expect(await world.end(), 'processes left behind').toBe(0))

/** One step over a model; further fields of the step as given. */
const one = (model: string, more: object = {}): FlowDefinitionInput => ({
  name: 'one',
  type: 'sequential',
  steps: [{ id: 'draft', model, action: 'generate', ...more }],
})

const killOf = ({ services }: Polyphony, id: string): void => {
  const pid = services.get(id).process?.pid
  if (pid === undefined) throw new Error(`expected ${id} to have a process`)
  process.kill(pid, 'SIGKILL')
}

test('a step names a model of a service file, and its answer is free and of the service', async () => {
  world.writeFile(world.serverOf('writer-1', { provider: { kind: 'openai-compatible', path: '/v1', inHouse: true } }))
  const polyphony = await world.open()
  await polyphony.services.startAll()
  const { steps } = await world.run(polyphony, one('writer-1/small'), { streaming: true })
  expect(steps[0]).toMatchObject({ provider: 'writer-1', output: 'word1 word2 word3 from writer-1.' })
  expect(steps[0]?.attempts).toMatchObject([{ provider: 'writer-1', cost: 0, costSource: 'free', simulated: false }])
  expect(polyphony.providers.list()).toContainEqual({
    id: 'writer-1',
    kind: 'openai-compatible',
    vendor: 'service',
    active: true,
    simulated: false,
    service: true,
    inHouse: true,
    origin: 'service',
  })
})

test('a service on a new port after a restart is called there, and no call is lost to the old one', async () => {
  const polyphony = await world.open()
  await polyphony.services.register(world.serverOf('writer-1'))
  await polyphony.services.start('writer-1')
  await world.run(polyphony, one('writer-1/small'))
  const before = polyphony.services.get('writer-1').endpoint
  await polyphony.services.restart('writer-1')
  expect(polyphony.services.get('writer-1').endpoint).not.toBe(before)
  const { steps } = await world.run(polyphony, one('writer-1/small'))
  expect(steps[0]?.attempts).toHaveLength(1)
  expect(steps[0]?.attempts[0]?.cost).toBeUndefined()
})

test('a service that is idle fails a step with SERVICE_NOT_RUNNING, and the step goes to its fallback', async () => {
  const polyphony = await world.open({ simulator: true })
  await polyphony.services.register(world.serverOf('writer-1'))
  const failed = await rejection(world.run(polyphony, one('writer-1/small')))
  expect(failed).toMatchObject({ code: 'SERVICE_NOT_RUNNING', details: { service: 'writer-1', state: 'idle' } })
  const fallbacks = [{ provider: 'openai', model: 'gpt-5-mini' }]
  const { steps } = await world.run(polyphony, one('writer-1/small', { fallbacks }))
  expect(steps[0]).toMatchObject({ provider: 'openai', simulated: true })
})

test('beside the simulator a service answers for real', async () => {
  const polyphony = await world.open({ simulator: true })
  await polyphony.services.register(world.serverOf('writer-1'))
  await polyphony.services.start('writer-1')
  const { steps } = await world.run(polyphony, one('writer-1/small'))
  expect(steps[0]).toMatchObject({ simulated: false, output: 'word1 word2 word3 from writer-1.' })
})

test('a step waits for a service that starts again after a crash', async () => {
  const polyphony = await world.open()
  await polyphony.services.register(world.serverOf('writer-1', { restart: { delayMs: 300, maxRetries: 5 } }))
  await polyphony.services.start('writer-1')
  killOf(polyphony, 'writer-1')
  await until('the service is down', () => polyphony.services.get('writer-1').state === 'backoff')
  const { steps } = await world.run(polyphony, one('writer-1/small', { maxRetries: 8 }))
  expect(steps[0]?.output).toBe('word1 word2 word3 from writer-1.')
  expect(steps[0]?.attempts[0]?.error?.code).toBe('PROVIDER_UNAVAILABLE')
})

test('a service with start: demand starts with the first call and is stopped when it is not used', async () => {
  const polyphony = await world.open()
  await polyphony.services.register(world.serverOf('writer-1', { start: 'demand', idleStopMs: 200 }))
  const runs = [1, 2, 3].map(() => world.run(polyphony, one('writer-1/small')))
  for (const { steps } of await Promise.all(runs)) expect(steps[0]?.attempts).toHaveLength(1)
  expect(polyphony.services.get('writer-1').restarts).toBe(0)
  await until('the service is stopped', () => polyphony.services.get('writer-1').state === 'idle')
  expect(await world.processes()).toEqual([])
})

test('stop lets a call in flight end and permits no new one', async () => {
  const polyphony = await world.open()
  await polyphony.services.register(world.serverOf('writer-1', {}, { chunkMs: 50, words: 20 }))
  await polyphony.services.start('writer-1')
  const running = world.run(polyphony, one('writer-1/small'), { streaming: true })
  await until('a call is in flight', () => polyphony.services.get('writer-1').inFlight === 1)
  const stopped = polyphony.services.stop('writer-1', { drainMs: 30_000 })
  expect(await rejection(world.run(polyphony, one('writer-1/small')))).toMatchObject({ code: 'SERVICE_NOT_RUNNING' })
  expect((await running).steps[0]?.attempts).toMatchObject([{ aborted: false }])
  expect((await stopped).state).toBe('idle')
})

test('a call that outlives drainMs ends with PROVIDER_UNAVAILABLE, and the step goes to its fallback', async () => {
  const polyphony = await world.open()
  await polyphony.services.register(world.serverOf('writer-1', {}, { chunkMs: 60_000 }))
  await polyphony.services.register(world.serverOf('writer-2'))
  await Promise.all(['writer-1', 'writer-2'].map((id) => polyphony.services.start(id)))
  const running = world.run(
    polyphony,
    one('writer-1/small', { fallbacks: [{ provider: 'writer-2', model: 'small' }], maxRetries: 0 }),
  )
  await until('a call is in flight', () => polyphony.services.get('writer-1').inFlight === 1)
  await polyphony.services.stop('writer-1', { drainMs: 0 })
  const { steps } = await running
  expect(steps[0]).toMatchObject({ provider: 'writer-2' })
  expect(steps[0]?.attempts[0]?.error?.code).toBe('PROVIDER_UNAVAILABLE')
})

test('a pool skips members that do not run without asking them, and uses one again as soon as it runs', async () => {
  world.writeFile(world.serverOf('writer-1', { start: 'manual' }))
  world.writeFile(world.serverOf('writer-2'))
  const members = [{ model: 'writer-1/small' }, { model: 'writer-2/small' }]
  const polyphony = await world.open({ pools: { writers: { members, strategy: 'round_robin' } } })
  await polyphony.services.startAll()
  const providersOf = async () => {
    const results = await Promise.all([1, 2, 3, 4].map(() => world.run(polyphony, one('pool/writers'))))
    return results.flatMap(({ steps }) => steps.flatMap(({ attempts }) => attempts.map(({ provider }) => provider)))
  }
  expect(await providersOf()).toEqual(['writer-2', 'writer-2', 'writer-2', 'writer-2'])
  await polyphony.services.start('writer-1')
  expect((await providersOf()).toSorted()).toEqual(['writer-1', 'writer-1', 'writer-2', 'writer-2'])
})

test('a pool none of whose members runs names the state of each', async () => {
  world.writeFile(world.serverOf('writer-1', { start: 'manual' }))
  const polyphony = await world.open({ pools: { writers: { members: [{ model: 'writer-1/small' }] } } })
  const failed = await rejection(world.run(polyphony, one('pool/writers')))
  expect(failed).toMatchObject({
    code: 'PROVIDER_UNAVAILABLE',
    details: { pool: 'writers', members: [{ member: 'writer-1/small', state: 'not_running', code: 'SERVICE_NOT_RUNNING' }] },
  })
})

test('a model that the service does not have is refused with a suggestion before anything is sent', async () => {
  const polyphony = await world.open()
  await polyphony.services.register(world.serverOf('writer-1'))
  const failed = await rejection(world.run(polyphony, one('writer-1/smal')))
  expect(failed).toMatchObject({ code: 'PROVIDER_REJECTED', details: { suggestion: 'small' } })
})

test('a service with the id of a provider, or a reserved one, is refused', async () => {
  const polyphony = await world.open({ simulator: true })
  expect(await rejection(polyphony.services.register(world.serverOf('openai')))).toMatchObject({ code: 'SERVICE_EXISTS' })
  expect(await rejection(polyphony.services.register(world.serverOf('pool')))).toMatchObject({ code: 'SERVICE_INVALID' })
  expect(polyphony.services.list()).toEqual([])
})

test('a removed service is no provider any more', async () => {
  const polyphony = await world.open()
  await polyphony.services.register(world.serverOf('writer-1'))
  await polyphony.services.remove('writer-1')
  expect(await rejection(world.run(polyphony, one('writer-1/small')))).toMatchObject({ code: 'PROVIDER_NOT_CONFIGURED' })
})

test('checkFlow names services that do not run: a problem only for what nothing else answers and no one starts', async () => {
  const polyphony = await world.open({ simulator: true })
  await polyphony.services.register(world.serverOf('by-hand', { start: 'manual' }))
  await polyphony.services.register(world.serverOf('on-demand', { start: 'demand' }))
  const check = (model: string, more?: object) => polyphony.orchestrator.checkFlow(one(model, more), 'ada')
  expect(await check('by-hand/small')).toMatchObject({
    ok: false,
    problems: [{ code: 'SERVICE_NOT_RUNNING', path: 'steps[0].model', details: { service: 'by-hand' } }],
  })
  const fallbacks = [{ provider: 'openai', model: 'gpt-5-mini' }]
  expect(await check('by-hand/small', { fallbacks })).toMatchObject({ ok: true, warnings: [{ code: 'SERVICE_NOT_RUNNING' }] })
  expect((await check('on-demand/small')).warnings).toMatchObject([
    { message: expect.stringContaining('the first call starts it') },
  ])
  await polyphony.services.start('by-hand')
  expect((await check('by-hand/small')).problems).toEqual([])
})

test('an in-house service sees the output of a provider without a policy, and no vendor sees what it made of it', async () => {
  const inHouse = { kind: 'openai-compatible' as const, path: '/v1', inHouse: true }
  const polyphony = await world.open({ simulator: true })
  await polyphony.services.register(world.serverOf('writer-1', { provider: inHouse }))
  await polyphony.services.start('writer-1')
  const steps = [
    { id: 'draft', model: 'openai/gpt-5-mini', action: 'generate' as const },
    { id: 'rewrite', model: 'writer-1/small', action: 'generate' as const },
  ]
  const { steps: done } = await world.run(polyphony, { name: 'two', type: 'sequential', steps })
  expect(done[1]?.sharing).toContainEqual(
    expect.objectContaining({ piece: 'draft', to: 'writer-1', allowed: true, rule: 'in_house' }),
  )
  const back = {
    id: 'back',
    model: 'anthropic/claude-sonnet-4-5',
    action: 'generate' as const,
    prompt: '{{ steps.rewrite.output }}',
  }
  const denied = await rejection(world.run(polyphony, { name: 'three', type: 'sequential', steps: [...steps, back] }))
  expect(denied).toMatchObject({ code: 'DATA_SHARING_DENIED' })
})

test('a service of kind http answers with its operations', async () => {
  const polyphony = await world.open()
  const operations = { models: { path: '/v1/models', answer: '/data/0/id' } }
  await polyphony.services.register(world.serverOf('tools', { provider: { kind: 'http', operations, inHouse: true } }))
  await polyphony.services.start('tools')
  const step = { id: 'list', model: 'tools/models', action: 'run' as const }
  const { steps } = await world.run(polyphony, { name: 'run', type: 'sequential', steps: [step] })
  expect(steps[0]).toMatchObject({ output: 'small' })
  expect(steps[0]?.attempts).toMatchObject([{ cost: 0, costSource: 'free' }])
})

test('operations that cannot be used are refused with their path', async () => {
  const polyphony = await world.open()
  const operations = { models: { path: 'no slash' } }
  const refused = await rejection(
    polyphony.services.register(world.serverOf('tools', { provider: { kind: 'http', operations } })),
  )
  expect(refused).toMatchObject({ code: 'SERVICE_INVALID', message: expect.stringContaining('provider.operations.models.path') })
})
