import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { FlowDefinitionInput } from '../../src/domain/definition/flow-definition.ts'
import type { Polyphony } from '../../src/polyphony.ts'
import { rejection } from '../support/caught.ts'
import { createLoopback, type Loopback, type LoopbackRequest } from '../support/loopback.ts'
import { createModelServers } from './model-servers.ts'
import { until } from './process-world.ts'
import { createGate } from './service-world.ts'

let world: ReturnType<typeof createModelServers>
const servers: Loopback[] = []
beforeEach(() => {
  world = createModelServers()
})
afterEach(async () => {
  expect(await world.end(), 'processes left behind').toBe(0)
  for (const server of servers.splice(0)) await server.close()
})

const one = (model: string, more: object = {}): FlowDefinitionInput => ({
  name: 'one',
  type: 'sequential',
  steps: [{ id: 'draft', model, action: 'generate', ...more }],
})

const chunk = (content: string) =>
  `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', model: 'small', choices: [{ index: 0, delta: { content } }] })}\n\n`
const whole = (content: string) =>
  JSON.stringify({
    id: 'c',
    object: 'chat.completion',
    model: 'small',
    choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
  })

/** A remote service that answers as `play` does, and runs. */
async function serve(
  { services }: Polyphony,
  id: string,
  play: (request: LoopbackRequest) => unknown,
  provider: object = {},
): Promise<Loopback> {
  const server = await createLoopback(play)
  servers.push(server)
  await services.register({
    id,
    type: 'llm',
    endpoint: server.url,
    provider: { kind: 'openai-compatible', path: '/v1', models: ['small'], ...provider },
  })
  await services.start(id)
  return server
}

test('one limit of provider.maxConcurrency holds for steps and for services.call together', async () => {
  const polyphony = await world.open()
  const release = createGate()
  let running = 0
  let most = 0
  const play = async ({ response }: LoopbackRequest) => {
    running++
    most = Math.max(most, running)
    await release.opened
    // The others have their turn to come in at the same time.
    await new Promise((resolve) => setImmediate(resolve))
    running--
    response.writeHead(200, { 'content-type': 'application/json' }).end(whole('done'))
  }
  await serve(polyphony, 'writer-1', play, { maxConcurrency: 2 })
  const calls = Array.from({ length: 6 }, () => polyphony.services.call('writer-1', { prompt: 'hello' }))
  const flows = Array.from({ length: 6 }, () => world.run(polyphony, one('writer-1/small', { maxRetries: 0 })))
  await until('the limit is reached', () => running === 2)
  await until('the calls wait', () => polyphony.services.get('writer-1').inFlight >= 6)
  release.open()
  for (const { text } of await Promise.all(calls)) expect(text).toBe('done')
  for (const { steps } of await Promise.all(flows)) expect(steps[0]?.attempts).toHaveLength(1)
  expect(most).toBe(2)
})

test('a service that is registered again with another limit gets that limit', async () => {
  const polyphony = await world.open()
  let running = 0
  const release = createGate()
  const play = async ({ response }: LoopbackRequest) => {
    running++
    await release.opened
    response.writeHead(200, { 'content-type': 'application/json' }).end(whole('done'))
  }
  await serve(polyphony, 'writer-1', ({ response }) => response.writeHead(200).end(whole('first')), { maxConcurrency: 1 })
  await world.run(polyphony, one('writer-1/small'))
  await polyphony.services.remove('writer-1')
  await serve(polyphony, 'writer-1', play, { maxConcurrency: 3 })
  const flows = [1, 2, 3].map(() => world.run(polyphony, one('writer-1/small')))
  await until('three calls are in flight', () => running === 3)
  release.open()
  await Promise.all(flows)
})

test('a cancelled flow ends its call at the service, which is free again', async () => {
  const polyphony = await world.open()
  const arrived = createGate()
  const gone = createGate()
  await serve(polyphony, 'writer-1', async ({ response, closed }) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write(chunk('half '))
    arrived.open()
    await closed
    gone.open()
  })
  const { orchestrator, conversations, services } = polyphony
  const thread = await conversations.createThread('ada')
  const flow = await orchestrator.createFlow(thread.id, 'ada', one('writer-1/small', { maxRetries: 0 }))
  const failed = rejection(orchestrator.executeFlow(flow.id, 'ada', { input: 'Say something.', streaming: true }))
  await arrived.opened
  expect(services.get('writer-1').inFlight).toBe(1)
  await orchestrator.cancelFlow(flow.id, 'ada')
  await gone.opened
  await failed
  await until('the call has ended', () => services.get('writer-1').inFlight === 0)
  expect(services.get('writer-1').state).toBe('running')
})

test('a member that answers half a stream and hangs is left for another one, with both attempts in the ledger', async () => {
  const members = [{ model: 'writer-1/small' }, { model: 'writer-2/small', tier: 2 }]
  const server = await createLoopback(({ response }) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write(chunk('half '))
  })
  servers.push(server)
  const { executable, port, health, environment, ...remote } = world.serverOf('writer-1', { endpoint: server.url })
  writeFileSync(join(world.services.dir, 'writer-1.json'), JSON.stringify(remote), { mode: 0o600 })
  world.writeFile(world.serverOf('writer-2'))
  const polyphony = await world.open({ pools: { writers: { members } }, timeouts: { idleMs: 300 } })
  await polyphony.services.startAll()
  const step = one('pool/writers', { maxRetries: 0, fallbackAfterFirstToken: true })
  const { steps } = await world.run(polyphony, step, { streaming: true })
  expect(steps[0]).toMatchObject({ provider: 'writer-2', output: 'word1 word2 word3 from writer-2.' })
  expect(steps[0]?.attempts).toMatchObject([
    { provider: 'writer-1', error: { code: expect.any(String) } },
    { provider: 'writer-2' },
  ])
  expect(polyphony.services.get('writer-1').inFlight).toBe(0)
})

test('a service at another address, registered anew or started again, is decided about as before', async () => {
  const polyphony = await world.open({ simulator: true })
  const answers = ({ response }: LoopbackRequest) =>
    void response.writeHead(200, { 'content-type': 'application/json' }).end(whole('mine'))
  const steps = [
    { id: 'draft', model: 'openai/gpt-5-mini', action: 'generate' as const },
    { id: 'rewrite', model: 'writer-1/small', action: 'generate' as const, prompt: '{{ steps.draft.output }}' },
  ]
  const run = () => world.run(polyphony, { name: 'two', type: 'sequential', steps })
  const decisionOf = async () => (await run()).steps[1]?.sharing.find(({ piece }) => piece === 'draft')
  await serve(polyphony, 'writer-1', answers)
  expect(await rejection(run())).toMatchObject({ code: 'DATA_SHARING_DENIED' })
  await polyphony.services.remove('writer-1')
  await serve(polyphony, 'writer-1', answers)
  expect(await rejection(run())).toMatchObject({ code: 'DATA_SHARING_DENIED' })
  const all = { allowConversationHistory: true, allowCrossProviderContext: true, allowAttachments: true }
  await polyphony.dataSharing.set('ada', 'writer-1', all)
  expect(await decisionOf()).toMatchObject({ to: 'writer-1', allowed: true, rule: 'allowCrossProviderContext' })
  await polyphony.services.remove('writer-1')
  await serve(polyphony, 'writer-1', answers)
  await polyphony.services.restart('writer-1')
  expect(await decisionOf()).toMatchObject({ to: 'writer-1', allowed: true, rule: 'allowCrossProviderContext' })
})
