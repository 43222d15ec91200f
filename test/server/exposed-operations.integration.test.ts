import { expect, test } from 'vitest'
import type { FlowDefinitionInput, FlowStepInput } from '../../src/domain/definition/flow-definition.ts'
import type { RegisteredFunction } from '../../src/domain/tools/functions.ts'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { serveMcp } from '../support/mcp-http.ts'
import { calling } from '../support/tool-world.ts'
import { runServer } from './running-server.ts'

const functions: Readonly<Record<string, RegisteredFunction>> = {
  open: { expose: 'api', run: () => 'opened' },
  closed: { run: () => 'secret' },
  pure: { expose: 'api', idempotent: true, run: () => 'a prompt' },
  greeting: () => 'hello',
}

const toDefinition = (step: FlowStepInput): FlowDefinitionInput => ({ name: 'x', type: 'sequential', steps: [step] })
const runOf = (name: string): FlowStepInput => ({ id: 's', model: `function/${name}`, action: 'run' })
const model: FlowStepInput = { id: 's', model: 'scripted/m', action: 'generate', prompt: 'x' }

async function start() {
  const scripted = createScriptedProvider({ replies: ['fine'] })
  const server = await runServer({ simulator: false, functions, providers: { scripted } })
  const key = await server.keyOf('ada')
  const { id: threadId } = await server.polyphony.conversations.createThread('ada', {})
  const create = (definition: FlowDefinitionInput) =>
    server.send('POST', '/api/v1/flows', { key, body: { threadId, definition } })
  const check = (definition: FlowDefinitionInput) => server.send('POST', '/api/v1/flows/check', { key, body: { definition } })
  return { ...server, key, threadId, create, check }
}

test('a definition over HTTP may run a function that is exposed, and knows of no other', async () => {
  const { create, check } = await start()
  expect(await create(toDefinition(runOf('open')))).toMatchObject({ status: 201 })
  const refused = [
    [runOf('closed'), runOf('unknown')],
    [
      { ...model, tools: ['function/closed'] },
      { ...model, tools: ['function/unknown'] },
    ],
    [
      { ...model, tools: ['function/*'] },
      { ...model, tools: ['nothing/*'] },
    ],
  ] as const
  for (const [closed, unknown] of refused) {
    const [found, none] = [await create(toDefinition(closed)), await create(toDefinition(unknown))]
    expect(found).toMatchObject({ status: none.status, json: { code: 'FLOW_INVALID' } })
    const withoutNames = (text: string) =>
      text.replaceAll(/closed|unknown|nothing|function/g, '').replaceAll(/"(requestId|instance)":"[^"]*"/g, '')
    expect(withoutNames(found.text)).toBe(withoutNames(none.text))
    expect((await check(toDefinition(closed))).json).toMatchObject({ ok: false, problems: [{ code: 'FLOW_INVALID' }] })
  }
  // In place of code, the same words too, beside a further problem and in suggestions.
  for (const more of [{}, { nothing: true }]) {
    const [found, none] = await Promise.all(
      ['closed', 'clozed'].map((name) => create({ ...toDefinition({ ...model, prompt: { function: name } }), ...more })),
    )
    const plain = (text = '') => text.replaceAll(/clo[sz]ed/g, '').replaceAll(/"(requestId|instance)":"[^"]*"/g, '')
    expect(found?.text).toContain('no function')
    expect(plain(found?.text)).toBe(plain(none?.text))
  }
  // A function in place of code runs without a journal row, so that it must be idempotent as well.
  for (const name of ['greeting', 'closed', 'open']) {
    const named = await create(toDefinition({ ...model, prompt: { function: name } }))
    expect(named.json).toMatchObject({ code: 'FLOW_INVALID' })
    for (const listener of ['onStepComplete', 'onFlowComplete', 'onError'] as const) {
      const listening = await create({ ...toDefinition(model), [listener]: { function: name } })
      expect(listening.json, `${listener}: ${name}`).toMatchObject({ code: 'FLOW_INVALID' })
    }
  }
  expect(await create(toDefinition({ ...model, prompt: { function: 'pure' } }))).toMatchObject({ status: 201 })
})

test('a flow that code has stored runs its functions for the network too', async () => {
  const { polyphony, send, key, threadId } = await start()
  const flow = await polyphony.orchestrator.createFlow(threadId, 'ada', toDefinition(runOf('closed')))
  await send('POST', `/api/v1/flows/${flow.id}/execute`, { key, body: { input: 'x' } })
  await expect.poll(async () => (await send('GET', `/api/v1/flows/${flow.id}`, { key })).text).toContain('secret')
})

test('a pattern of tools in a definition over HTTP stands for what was exposed when the flow was created', async () => {
  const mcp = await serveMcp()
  const model = createScriptedProvider({ replies: [calling(['echo', { text: 'x' }]), 'fine'] })
  const server = await runServer({
    simulator: false,
    providers: { scripted: model },
    mcp: { kit: { url: `${mcp.url}/mcp`, expose: 'api' } },
  })
  const key = await server.keyOf('ada')
  const { id: threadId } = await server.polyphony.conversations.createThread('ada', {})
  const step = { id: 's', model: 'scripted/m', action: 'generate', prompt: 'x', tools: ['kit/*', 'hosted/web_search'] }
  const { json, status } = await server.send('POST', '/api/v1/flows', {
    key,
    body: { threadId, definition: { name: 'x', type: 'sequential', steps: [step] } },
  })
  expect(status).toBe(201)
  const flow = await server.polyphony.orchestrator.getFlow(String(Reflect.get(Object(json), 'id')), 'ada')
  const tools = flow.definition.steps[0]?.tools ?? []
  expect(tools).toContain('kit/echo')
  expect(tools).toContain('hosted/web_search')
  expect(tools.filter((tool) => tool.endsWith('*'))).toEqual([])
  await mcp.close()
})
