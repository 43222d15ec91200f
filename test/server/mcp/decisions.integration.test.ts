import { Client, type ElicitResult, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createScriptedProvider } from '../../../src/providers/scripted.ts'
import { calling } from '../../support/tool-world.ts'
import { decisionFlow, eventFlow, runPausedServer } from '../waiting/paused-server.ts'
import { connect, REVISIONS, toToolUser } from './mcp-client.ts'

/** A client that shows forms; `answers` is what its user enters, one form after another. */
async function connectWithForms(url: string, key: string, answers: readonly ElicitResult[]) {
  const asked: string[] = []
  const client = new Client(
    { name: 'test', version: '1' },
    { capabilities: { elicitation: { form: {} } }, versionNegotiation: { mode: 'auto' } },
  )
  client.setRequestHandler('elicitation/create', async ({ params }) => {
    asked.push(params.message)
    return answers[asked.length - 1] ?? { action: 'cancel' }
  })
  const requestInit = { headers: { authorization: `Bearer ${key}` } }
  onTestFinished(() => client.close())
  await client.connect(new StreamableHTTPClientTransport(new URL(`${url}/mcp`), { requestInit }))
  return { ...(await toToolUser(client)), asked }
}

describe.each(REVISIONS)('a client of revision $revision without forms', ({ mode }) => {
  test('is told what a flow waits for, and passes the decision on with a tool', async () => {
    const { url, keyOf, pause } = await runPausedServer()
    const { call } = await connect(url, { mode, key: await keyOf('ada') })
    const { flowId, hash } = await pause('ada', decisionFlow())
    const followed = await call('follow_flow', { flowId, waitMs: 60_000 })
    expect(followed.value).toMatchObject({ status: 'PAUSED', ended: false, waiting: [{ path: 'ok', hash, show: 'text 1' }] })
    expect(followed.text).toContain('answer_waiting')
    expect((await call('list_waiting')).value).toMatchObject({ items: [{ flowId, path: 'ok', hash, mayAnswer: true }] })
    const stale = await call('answer_waiting', { flowId, path: 'ok', hash: 'stale', approved: true })
    expect(stale).toMatchObject({ isError: true, code: 'APPROVAL_OUTDATED' })
    expect((await call('answer_waiting', { flowId, path: 'ok', hash, approved: true })).value).toMatchObject({
      approved: true,
      by: 'ada',
    })
    expect(await call('answer_waiting', { flowId, path: 'ok', hash, approved: false })).toMatchObject({
      code: 'APPROVAL_DECIDED',
    })
    expect((await call('follow_flow', { flowId })).value).toMatchObject({
      status: 'COMPLETED',
      ended: true,
      finalOutput: 'text 2',
    })
  })
})

test('a client with forms asks its user, and the flow goes on to its end within one call', async () => {
  const { url, keyOf, pause } = await runPausedServer()
  const answers = [{ action: 'accept', content: { approved: true, edit: 'my text' } }] as const
  const { call, asked } = await connectWithForms(url, await keyOf('ada'), answers)
  const { flowId, end } = await pause('ada', decisionFlow())
  expect((await call('follow_flow', { flowId, waitMs: 60_000 })).value).toMatchObject({
    status: 'COMPLETED',
    finalOutput: 'text 2',
  })
  expect(asked).toEqual([expect.stringMatching(/Is it fine\?\n\ntext 1$/)])
  expect((await end).steps[1]?.parsed).toMatchObject({ approved: true, edit: 'my text', by: 'ada' })
})

test('a form that the user declines decides nothing', async () => {
  const { url, keyOf, pause } = await runPausedServer()
  const { call, asked } = await connectWithForms(url, await keyOf('ada'), [{ action: 'decline' }])
  const { flowId } = await pause('ada', decisionFlow())
  expect((await call('follow_flow', { flowId, waitMs: 60_000 })).value).toMatchObject({
    status: 'PAUSED',
    waiting: [{ path: 'ok' }],
  })
  expect(asked).toHaveLength(1)
})

test('nobody is asked for the decision of somebody else, without the scope, or for an event', async () => {
  const { url, keyOf, pause } = await runPausedServer()
  const { call, asked } = await connectWithForms(url, await keyOf('ada'), [])
  const others = await pause('ada', decisionFlow({ assignees: ['bea'] }))
  expect((await call('follow_flow', { flowId: others.flowId })).value).toMatchObject({ waiting: [{ mayAnswer: false }] })
  const paid = await pause('ada', eventFlow())
  expect((await call('follow_flow', { flowId: paid.flowId })).text).toContain('waits for the event "paid"')
  const limited = await connectWithForms(url, await keyOf('ada', ['read']), [])
  const own = await pause('ada', decisionFlow())
  expect((await limited.call('follow_flow', { flowId: own.flowId })).value).toMatchObject({ status: 'PAUSED' })
  expect(await limited.call('answer_waiting', { ...own, path: 'ok', hash: own.hash, approved: true })).toMatchObject({
    isError: true,
  })
  expect([asked, limited.asked]).toEqual([[], []])
})

test('the result of a caller tool is no decision: the model is told the call, and passes the result on with a tool', async () => {
  const provider = createScriptedProvider({ replies: [calling(['weather', { city: 'Rome' }]), 'sunny'] })
  const { url, keyOf, pause } = await runPausedServer({ providers: { scripted: provider } })
  const { call, asked } = await connectWithForms(url, await keyOf('ada'), [])
  const step = { id: 'answer', model: 'scripted/m', action: 'generate', tools: ['caller/weather'] } as const
  const callerTools = [{ name: 'weather', parameters: { type: 'object' } }]
  const { flowId, hash, end } = await pause('ada', { name: 'caller', type: 'sequential', callerTools, steps: [step] })
  const { text } = await call('follow_flow', { flowId })
  expect(text).toMatch(/waits for the result of the tool "weather" .*"city": "Rome"/s)
  expect(asked).toEqual([])
  await call('answer_waiting', { flowId, path: 'answer@1.1', hash, data: 'warm' })
  expect(await end).toMatchObject({ finalOutput: 'sunny', steps: [{ toolCalls: [{ output: 'warm' }] }] })
})

test('forged answers of forms decide only what the caller may decide, and only what was shown', async () => {
  const { url, keyOf, pause, send } = await runPausedServer()
  const [ada, eve] = [await keyOf('ada'), await keyOf('eve')]
  await connectWithForms(url, ada, [])
  const { flowId, hash } = await pause('ada', decisionFlow())
  const forge = (key: string, of: string) =>
    send('POST', '/mcp', {
      key,
      headers: {
        accept: 'application/json, text/event-stream',
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': 'tools/call',
        'mcp-name': 'follow_flow',
      },
      body: {
        jsonrpc: '2.0',
        id: 1,
        method: 'tools/call',
        params: {
          name: 'follow_flow',
          arguments: { flowId, waitMs: 0 },
          inputResponses: { [of]: { action: 'accept', content: { approved: true } } },
          _meta: {
            'io.modelcontextprotocol/protocolVersion': '2026-07-28',
            'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
            'io.modelcontextprotocol/clientCapabilities': { elicitation: { form: {} } },
          },
        },
      },
    })
  expect((await forge(eve, hash)).text).toContain('FLOW_NOT_FOUND')
  await forge(ada, 'stale')
  expect((await send('GET', '/api/v1/waiting', { key: ada })).json).toMatchObject({ items: [{ flowId }] })
  await forge(ada, hash)
  expect((await send('GET', '/api/v1/waiting', { key: ada })).json).toEqual({ items: [] })
})
