import { expect, test } from 'vitest'
import type { Answer } from '../running-server.ts'
import { upgradeStatus } from '../socket-client.ts'
import { changesBetween } from './standing.ts'
import { createWorld, definitionOf, type World } from './world.ts'

/** Sends as eve what she must not be given; nothing may change and nothing of others may come back. */
async function refusedToEve(
  world: World,
  method: string,
  path: string,
  body?: unknown,
  headers?: Readonly<Record<string, string>>,
): Promise<Answer> {
  const before = await world.dump()
  const answer = await world.send(method, path, { key: world.keys.eve, body, headers })
  const where = `${method} ${path}: ${answer.status} ${answer.text}`
  expect(answer.status, where).toBeGreaterThanOrEqual(400)
  expect(answer.status, where).toBeLessThan(500)
  expect(world.leaks(answer.text, 'eve', `${path} ${JSON.stringify(body)}`), where).toEqual([])
  expect(changesBetween(before, await world.dump()), where).toEqual([])
  return answer
}

const withoutIds = ({ status, json }: Answer, ...ids: readonly string[]): string =>
  ids.reduce((text, id) => text.replaceAll(id, '<id>'), JSON.stringify([status, { ...json, requestId: '' }]))

for (const kind of ['memory', 'postgres'] as const) {
  test(`ids of other users inside requests about own data have no effect (${kind})`, async () => {
    const world = await createWorld(kind)
    const { 'canary-eve': own, 'canary-ada-shared': foreign } = world.things
    const executePath = (flow: string, id: string) => `/api/v1/flows/${flow}/steps/${id}/execute`
    const unknownStep = await refusedToEve(world, 'POST', executePath(own.doneFlowId, 'canary-no-one-step'), {})
    const foreignStep = await refusedToEve(world, 'POST', executePath(own.doneFlowId, foreign.stepId), {})
    expect(withoutIds(foreignStep, foreign.stepId)).toBe(withoutIds(unknownStep, 'canary-no-one-step'))
    expect((await refusedToEve(world, 'POST', executePath(foreign.doneFlowId, own.stepId), {})).json.code).toBe('FLOW_NOT_FOUND')

    const rerun = `/api/v1/flows/${own.doneFlowId}/rerun`
    expect((await refusedToEve(world, 'POST', rerun, { fromStep: foreign.stepId })).json.code).toBe('STEP_NOT_FOUND')
    await refusedToEve(world, 'POST', rerun, { fromStep: own.stepId, threadId: foreign.threadId })
    await refusedToEve(world, 'POST', rerun, { parentFlowId: foreign.doneFlowId })

    const execute = `/api/v1/flows/${own.waitingFlowId}/execute`
    await refusedToEve(world, 'POST', execute, { threadId: foreign.threadId, input: 'x' })
    await refusedToEve(world, 'POST', execute, { userId: 'user-ada', input: 'x' })
    await refusedToEve(world, 'POST', `/api/v1/flows/${foreign.waitingFlowId}/execute?wait=1000`, { input: 'x' })

    const definition = definitionOf('canary-eve')
    await refusedToEve(world, 'POST', '/api/v1/flows', { threadId: foreign.threadId, definition })
    await refusedToEve(world, 'POST', '/api/v1/flows', { threadId: own.threadId, definition, userId: 'user-ada' })
    await refusedToEve(world, 'POST', '/api/v1/flows', {
      threadId: own.threadId,
      definition: { ...definition, id: foreign.doneFlowId },
    })
    await refusedToEve(world, 'POST', '/api/v1/threads', { title: 'x', userId: 'user-ada' })
    await refusedToEve(world, 'POST', '/api/v1/threads', { id: foreign.threadId })
    await refusedToEve(world, 'POST', `/api/v1/threads/${own.threadId}/messages`, {
      role: 'user',
      content: 'x',
      threadId: foreign.threadId,
    })

    await refusedToEve(world, 'PUT', `/api/v1/threads/${foreign.threadId}/permissions/user-eve`, { rights: ['read'] })
    await refusedToEve(world, 'PUT', `/api/v1/threads/${foreign.threadId}/permissions/user-bea`, { rights: [] })
    await refusedToEve(world, 'PUT', `/api/v1/threads/${foreign.threadId}/permissions/user-ada`, { rights: [] })
    await refusedToEve(world, 'PUT', '/api/v1/data-sharing/scripted', { userId: 'user-ada', allowAttachments: true })

    for (const query of [
      `threadId=${own.threadId}&threadId=${foreign.threadId}`,
      `threadId[]=${foreign.threadId}`,
      'userId=user-ada',
    ]) {
      await refusedToEve(world, 'GET', `/api/v1/flows?${query}`)
    }
    await refusedToEve(world, 'GET', `/api/v1/usage?userId=user-ada`)
    await refusedToEve(world, 'GET', `/api/v1/usage?groupBy=user`)
    for (const path of [
      `/api/v1/threads/${own.threadId}/../${foreign.threadId}`,
      `/api/v1/threads/${own.threadId}%2f..%2f${foreign.threadId}`,
      `/api/v1/threads/${own.threadId}/..;/${foreign.threadId}`,
      `/api/v1/threads/${foreign.threadId}/messages/`,
      `/api/v1//threads/${foreign.threadId}`,
      `/API/v1/threads/${foreign.threadId}`,
      `/api/v1/flows/${foreign.doneFlowId}/updates?lastEventId=1`,
    ]) {
      await refusedToEve(world, 'GET', path)
    }
    // Saved flows go by name as models: a name says nothing of the flows of others.
    for (const [path, bodyOf] of [
      ['/v1/chat/completions', (model: string) => ({ model, messages: [{ role: 'user', content: 'x' }] })],
      ['/v1/responses', (model: string) => ({ model, input: 'x' })],
    ] as const) {
      const [named, unnamed] = ['flow/canary-ada-private flow', 'flow/canary-nobodys-lost flow']
      const told = await refusedToEve(world, 'POST', path, bodyOf(named))
      expect(withoutIds(told, named)).toBe(withoutIds(await refusedToEve(world, 'POST', path, bodyOf(unnamed)), unnamed))
    }
    const previous = { model: 'flow/canary-eve flow', input: 'x' }
    for (const id of [foreign.responseId, `resp_${foreign.doneFlowId}`, foreign.doneFlowId]) {
      await refusedToEve(world, 'POST', '/v1/responses', { ...previous, previous_response_id: id })
    }
    await refusedToEve(world, 'POST', '/v1/responses', { ...previous, conversation: foreign.threadId })

    const override = { 'x-http-method-override': 'DELETE', 'x-user-id': 'user-ada', 'x-forwarded-user': 'user-ada' }
    await refusedToEve(world, 'POST', `/api/v1/flows/${foreign.doneFlowId}/cancel`, {}, override)
  })

  test(`members change only rights that they hold, completely or not at all (${kind})`, async () => {
    const world = await createWorld(kind)
    const { threadId } = world.things['canary-ada-shared']
    const put = (key: string, user: string, rights: readonly string[]) =>
      world.send('PUT', `/api/v1/threads/${threadId}/permissions/${user}`, { key, body: { rights } })
    const refuse = async (key: string, user: string, rights: readonly string[]) => {
      const before = await world.dump()
      const answer = await put(key, user, rights)
      expect(answer.json.code, `${user} ${rights}`).toBe('PERMISSION_DENIED')
      expect(changesBetween(before, await world.dump())).toEqual([])
    }
    const { bea, cyd, ada } = world.keys
    await refuse(bea, 'user-bea', ['read', 'write'])
    await refuse(bea, 'user-eve', ['read', 'delete'])
    await refuse(bea, 'user-cyd', ['read'])
    await refuse(cyd, 'user-cyd', ['read', 'write', 'delete'])
    await refuse(cyd, 'user-ada', ['read', 'write'])
    await refuse(cyd, 'user-ada', [])
    await refuse(ada, 'user-ada', ['read'])
    expect((await put(cyd, 'user-zoe', ['read', 'write'])).json).toEqual({ userId: 'user-zoe', rights: ['read', 'write'] })
    // One of the two changes would be allowed.
    await refuse(cyd, 'user-zoe', ['read', 'delete'])
    expect((await put(ada, 'user-zoe', ['read', 'delete'])).status).toBe(200)
    expect((await put(ada, 'user-zoe', [])).status).toBe(200)
    const listed = await world.send('GET', `/api/v1/threads/${threadId}/permissions`, { key: ada })
    expect(listed.text).not.toContain('user-zoe')
  })

  test(`the same Idempotency-Key of two users are two keys (${kind})`, async () => {
    const world = await createWorld(kind)
    const headers = { 'idempotency-key': 'the-same' }
    const create = (person: 'ada' | 'eve') =>
      world.send('POST', '/api/v1/threads', { key: world.keys[person], headers, body: { title: 'same body' } })
    const [ada, eve] = await Promise.all([create('ada'), create('eve')])
    expect([ada.status, eve.status]).toEqual([201, 201])
    expect(eve.json).toMatchObject({ userId: 'user-eve' })
    expect(eve.json.id).not.toBe(ada.json.id)
    const again = await create('eve')
    expect(again.text).toBe(eve.text)
    expect(again.headers.get('idempotency-replayed')).toBe('true')

    const { threadId } = world.things['canary-ada-shared']
    const body = { role: 'user', content: 'canary-ada-shared said once' }
    const post = (key: string) =>
      world.send('POST', `/api/v1/threads/${threadId}/messages`, { key, headers: { 'idempotency-key': 'm' }, body })
    expect((await post(world.keys.cyd)).status).toBe(201)
    const before = await world.dump()
    const foreign = await post(world.keys.eve)
    expect(foreign.json.code).toBe('THREAD_NOT_FOUND')
    expect(changesBetween(before, await world.dump())).toEqual([])
    // The refusal leaves no key behind that blocks eve's next request under it.
    expect(
      (await world.send('POST', '/api/v1/threads', { key: world.keys.eve, headers: { 'idempotency-key': 'm' }, body: {} }))
        .status,
    ).toBe(201)
  })

  test(`a stored answer is not returned to a key without the scope of its request (${kind})`, async () => {
    const world = await createWorld(kind)
    const path = `/api/v1/flows/${world.things['canary-ada-shared'].doneFlowId}/rerun`
    const rerun = (key: string) => world.send('POST', path, { key, headers: { 'idempotency-key': 'r' }, body: {} })
    expect((await rerun(world.keys.cyd)).status).toBe(201)
    expect((await rerun(world.keys.cyd)).headers.get('idempotency-replayed')).toBe('true')
    expect((await rerun(await world.keyWith('cyd', ['read']))).json).toMatchObject({ details: { scope: 'write' } })
  })

  test(`a stored answer is not returned to a caller that may no longer read its data (${kind})`, async () => {
    const world = await createWorld(kind, { policyCacheMs: 0 })
    const { threadId, doneFlowId, stepId } = world.things['canary-ada-shared']
    const asks: readonly (readonly [string, unknown, string])[] = [
      [`/api/v1/flows/${doneFlowId}/rerun`, { fromStep: stepId }, 'FLOW_NOT_FOUND'],
      [`/api/v1/flows/${doneFlowId}/steps/${stepId}/execute`, { input: 'x' }, 'FLOW_NOT_FOUND'],
      [`/api/v1/threads/${threadId}/messages`, { role: 'user', content: 'x' }, 'THREAD_NOT_FOUND'],
      ['/api/v1/flows', { threadId, template: 'critique' }, 'THREAD_NOT_FOUND'],
    ]
    const send = (path: string, body: unknown) =>
      world.send('POST', path, { key: world.keys.cyd, headers: { 'idempotency-key': path }, body })
    for (const [path, body] of asks) {
      expect((await send(path, body)).status, path).toBeLessThan(300)
      expect((await send(path, body)).headers.get('idempotency-replayed'), path).toBe('true')
    }
    await world.polyphony.permissions.revoke(threadId, 'user-ada', 'user-cyd')
    for (const [path, body, code] of asks) {
      const answer = await send(path, body)
      expect(answer.json.code, path).toBe(code)
      expect(world.leaks(answer.text, 'eve', `${path} ${JSON.stringify(body)}`), path).toEqual([])
    }
  })

  test(`a policy applies to its own user only, whatever others allow the same provider (${kind})`, async () => {
    const world = await createWorld(kind)
    const path = '/api/v1/data-sharing/provider-of-ada'
    const nothing = { allowConversationHistory: false, allowCrossProviderContext: false, allowAttachments: false }
    const policy = { userId: 'user-eve', providerKey: 'provider-of-ada' }
    const ask = (method: string, body?: unknown) => world.send(method, path, { key: world.keys.eve, body })
    expect((await ask('GET')).json).toEqual({ ...policy, ...nothing })
    expect((await ask('DELETE')).status).toBe(204)
    expect((await ask('PUT', { allowConversationHistory: true })).json).toEqual({
      ...policy,
      ...nothing,
      allowConversationHistory: true,
    })
    const own = await world.send('GET', path, { key: world.keys.ada })
    expect(own.json).toEqual({ ...policy, ...nothing, userId: 'user-ada', allowAttachments: true })
  })

  test(`a cursor of another user's list is of no use (${kind})`, async () => {
    const world = await createWorld(kind)
    for (const path of ['/api/v1/flows', '/api/v1/threads']) {
      await world.fresh('canary-ada-private')
      const first = await world.send('GET', `${path}?limit=1`, { key: world.keys.ada })
      const cursor = encodeURIComponent(String(first.json.nextCursor))
      expect(first.json.nextCursor).toEqual(expect.any(String))
      const own = await world.send('GET', `${path}?cursor=${cursor}`, { key: world.keys.ada })
      expect(own.status).toBe(200)
      const foreign = await world.send('GET', `${path}?cursor=${cursor}`, { key: world.keys.eve })
      expect(foreign.status).toBe(200)
      expect(world.leaks(foreign.text, 'eve')).toEqual([])
    }
  })
}

test('a ticket authenticates its owner once, as long as the key is valid', async () => {
  const world = await createWorld('memory')
  const { url, polyphony, keys, send } = world
  const ticketOf = async (key: string): Promise<readonly string[]> => {
    const { protocols } = (await send('POST', '/api/v1/tickets', { key })).json
    return Array.isArray(protocols) ? protocols.map(String) : []
  }
  const { token, key } = await polyphony.apiKeys.create('user-ada')
  const ofRevoked = await ticketOf(token)
  await polyphony.apiKeys.revoke(key.id)
  expect(await upgradeStatus(url, { protocols: ofRevoked })).toBe(401)

  const [protocol = '', ticket = ''] = await ticketOf(keys.ada)
  const guessed = `${ticket.slice(0, -1)}${ticket.endsWith('A') ? 'B' : 'A'}`
  // A ticket that is no good is not made up for by a key that is.
  expect(await upgradeStatus(url, { protocols: [protocol, guessed], key: keys.eve })).toBe(401)
  expect(await upgradeStatus(url, { protocols: [protocol, 'ticket.'], key: keys.eve })).toBe(401)
  expect(await upgradeStatus(url, { protocols: [protocol, ticket], key: keys.eve })).toBe(101)
  expect(await upgradeStatus(url, { protocols: [protocol, ticket], key: keys.ada })).toBe(401)
  const twice = await ticketOf(keys.ada)
  const both = await Promise.all([upgradeStatus(url, { protocols: twice }), upgradeStatus(url, { protocols: twice })])
  expect(both.sort()).toEqual([101, 401])
})
