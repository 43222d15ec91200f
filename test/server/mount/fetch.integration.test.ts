import { setTimeout as delay } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import type { PolyphonyConfigInput } from '../../../src/config/config.ts'
import { createScriptedProvider } from '../../../src/providers/scripted.ts'
import { mountPolyphony } from '../../../src/server/main.ts'
import { openTestPolyphony } from '../../support/polyphony.ts'
import { eventsOf } from '../running-server.ts'

const ORIGIN = 'http://localhost:3000'

async function mount(config: PolyphonyConfigInput = {}) {
  const polyphony = await openTestPolyphony({ simulator: true, ...config })
  onTestFinished(() => polyphony.close())
  const mounted = await mountPolyphony(polyphony, { auth: 'local' })
  onTestFinished(() => mounted.close())
  const ask = (path: string, init: RequestInit = {}, remoteAddress: string | undefined = '127.0.0.1') =>
    mounted.fetch(new Request(`${ORIGIN}/polyphony${path}`, init), { remoteAddress })
  const post = (path: string, body: unknown, init: RequestInit = {}) =>
    ask(path, { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' }, ...init })
  const createFlow = async () => {
    const thread = await polyphony.conversations.createThread('local')
    return polyphony.orchestrator.createFlow(thread.id, 'local', {
      name: 'one step',
      type: 'sequential',
      steps: [{ id: 'only', model: 'scripted/a', action: 'generate', prompt: 'original' }],
    })
  }
  return { polyphony, mounted, ask, post, createFlow }
}

test('a web request is answered as one of the network is, with checks, links and statuses', async () => {
  const { ask, post, mounted } = await mount()
  expect(await (await ask('/api/v1/me')).json()).toMatchObject({ userId: 'local' })
  const created = await post('/api/v1/threads', { title: 'web' })
  const location = created.headers.get('location') ?? ''
  expect([created.status, location]).toEqual([201, expect.stringMatching(/^\/polyphony\/api\/v1\/threads\/[\w-]+$/)])
  const removed = await ask(location.slice('/polyphony'.length), { method: 'DELETE' })
  expect([removed.status, removed.body]).toEqual([204, null])
  const head = await ask('/api/v1/me', { method: 'HEAD' })
  expect([head.status, await head.text()]).toEqual([200, ''])
  expect([...head.headers.keys()].filter((name) => ['connection', 'keep-alive', 'transfer-encoding'].includes(name))).toEqual([])
  expect((await ask('/api/v1/me', { headers: { origin: 'https://evil.example' } })).status).toBe(403)
  expect((await ask('/api/v1/me', { headers: { host: 'evil.example' } })).status).toBe(421)
  expect((await mounted.fetch(new Request(`${ORIGIN}/other`))).status).toBe(404)
  const preflight = await ask('/api/v1/me', { method: 'OPTIONS' })
  expect(preflight.headers.get('allow')).toContain('GET')
})

test('a web request without the address of its client, or from another machine, needs a key', async () => {
  const { ask, mounted, polyphony } = await mount()
  expect((await mounted.fetch(new Request(`${ORIGIN}/polyphony/api/v1/me`))).status).toBe(401)
  expect((await ask('/api/v1/me', {}, '10.1.2.3')).status).toBe(401)
  const { token } = await polyphony.apiKeys.create('ada')
  const init = { headers: { authorization: `Bearer ${token}` } }
  expect(await (await ask('/api/v1/me', init, '10.1.2.3')).json()).toMatchObject({ userId: 'ada' })
})

test('a body is streamed, and refused while it is sent when it is over the limit', async () => {
  const { ask, post } = await mount({ server: { bodyLimitBytes: 100_000 } })
  const chunks = (count: number) => {
    let sent = 0
    let cancelled = false
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        const text = sent === 0 ? '{"title":"' : 'x'.repeat(10_000)
        controller.enqueue(Buffer.from(sent === count ? '"}' : text))
        if (sent++ === count) controller.close()
      },
      cancel: () => {
        cancelled = true
      },
    })
    return {
      init: { method: 'POST', body, duplex: 'half' as const, headers: { 'content-type': 'application/json' } },
      state: () => ({ sent, cancelled }),
    }
  }
  const small = await ask('/api/v1/threads', chunks(5).init)
  expect(small.status).toBe(422)
  const large = chunks(1_000)
  const refused = await ask('/api/v1/threads', large.init)
  expect([refused.status, refused.headers.get('content-type')]).toEqual([413, 'application/problem+json'])
  expect(large.state().cancelled).toBe(false)
  await refused.text()
  expect((await post('/api/v1/threads', { title: 'x'.repeat(200_000) })).status).toBe(413)
  const used = new Request(`${ORIGIN}/polyphony/api/v1/threads`, { method: 'POST', body: '{}' })
  await used.text()
  const { mounted } = await mount()
  await expect(mounted.fetch(used)).rejects.toThrow('request.clone()')
})

test('the updates of a flow arrive while it runs, and an aborted or cancelled stream is released', async () => {
  const provider = createScriptedProvider({ replies: ['the answer'] })
  const { ask, post, createFlow } = await mount({
    simulator: false,
    providers: { scripted: provider },
    server: { sockets: { maxConnectionsPerUser: 1 } },
  })
  const flow = await createFlow()
  const path = `/api/v1/flows/${flow.id}/updates`
  const free = async () => {
    for (;;) {
      const stream = await ask(path)
      if (stream.status !== 429) return stream
      await delay(10)
    }
  }

  const aborted = new AbortController()
  const first = await ask(path, { signal: aborted.signal })
  const reader = first.body?.getReader()
  expect(new TextDecoder().decode((await reader?.read())?.value)).toBe('retry: 1000\n\n')
  expect((await ask(path)).status).toBe(429)
  aborted.abort()
  await expect(reader?.read()).rejects.toThrow()

  const second = await free()
  await second.body?.cancel()
  const third = await free()
  expect((await post(`/api/v1/flows/${flow.id}/execute`, { input: 'go' })).status).toBe(202)
  expect(eventsOf(await third.text()).at(-1)).toMatchObject({ event: 'end', data: { status: 'COMPLETED' } })
  await expect(ask(path, { signal: AbortSignal.abort() })).rejects.toThrow('aborted')
})

test('a request that waits for a flow is given up with its client', async () => {
  const provider = createScriptedProvider({ replies: [{ text: 'half', hang: true }] })
  const { post, createFlow, polyphony } = await mount({ simulator: false, providers: { scripted: provider } })
  const flow = await createFlow()
  const gone = new AbortController()
  const waiting = post(`/api/v1/flows/${flow.id}/execute?wait=60000`, { input: 'go' }, { signal: gone.signal })
  while ((await polyphony.orchestrator.getFlowStatus(flow.id, 'local')).status !== 'RUNNING') await delay(10)
  gone.abort(new Error('left'))
  await expect(waiting).rejects.toThrow('left')
  await polyphony.orchestrator.cancelFlow(flow.id, 'local')
})

test('a reader that stops reading is disconnected, as on the network', async () => {
  const provider = createScriptedProvider({ replies: ['word '.repeat(200_000)] })
  const { ask, createFlow, polyphony } = await mount({
    simulator: false,
    providers: { scripted: provider },
    server: { sockets: { slowAfterMs: 200, maxBufferedBytes: 10_000, maxConnectionsPerUser: 1 } },
  })
  const flow = await createFlow()
  await polyphony.orchestrator.executeFlow(flow.id, 'local', { input: 'go' })
  const path = `/api/v1/flows/${flow.id}/updates`
  const stalled = await ask(path)
  let next = await ask(path)
  expect([stalled.status, next.status]).toEqual([200, 429])
  for (; next.status === 429; next = await ask(path)) await delay(20)
  await next.body?.cancel()
  await expect(stalled.text()).rejects.toThrow()
})
