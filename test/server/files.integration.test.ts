import { expect, test } from 'vitest'
import { createClient } from '../../src/client/client.ts'
import type { FunctionContext } from '../../src/domain/tools/functions.ts'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { rejection } from '../support/caught.ts'
import { calling } from '../support/tool-world.ts'
import { runServer, send } from './running-server.ts'

const PNG = Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52, 255, 0])

test('the client stores, lists, reads, attaches and deletes files', { timeout: 60_000 }, async () => {
  const server = await runServer()
  const client = createClient({ baseUrl: server.url })
  const file = await client.files.add(PNG, { name: 'Foto (1).png' })
  expect(file).toMatchObject({ name: 'Foto (1).png', mediaType: 'image/png', byteLength: PNG.length })
  expect(await client.files.get(file.id)).toEqual(file)
  expect((await client.files.list({ limit: 5 })).items).toEqual([file])
  expect(new Uint8Array(await client.files.read(file.id))).toEqual(PNG)

  const thread = await client.threads.create()
  const attachments = [{ fileId: file.id }, { name: 'a.txt', mediaType: 'text/plain', text: 'ü' }]
  const message = await client.messages.add(thread.id, { role: 'user', content: 'Look', attachments })
  expect(message.attachments).toMatchObject([
    { name: 'Foto (1).png', mediaType: 'image/png', file: { sha256: file.sha256 } },
    { name: 'a.txt', text: 'ü' },
  ])
  await client.files.delete(file.id)
  expect(await rejection(client.files.get(file.id))).toMatchObject({ code: 'FILE_NOT_FOUND', status: 404 })
  expect(new Uint8Array(await client.files.read(message.attachments?.[0]?.file?.id ?? ''))).toEqual(PNG)
})

test('an upload that is repeated with its key is stored once, and other bytes need another key', async () => {
  const server = await runServer()
  const client = createClient({ baseUrl: server.url })
  const add = (data: Uint8Array) => client.files.add(data, { name: 'a.png' }, { idempotencyKey: 'k' })
  const first = await add(PNG)
  expect(await add(PNG)).toEqual(first)
  expect((await client.files.list()).items).toEqual([first])
  expect(await rejection(add(PNG.slice(0, 8)))).toMatchObject({ code: 'IDEMPOTENCY_KEY_REUSED' })
})

test('content of a file is sent as a download that no browser shows', async () => {
  const server = await runServer()
  const client = createClient({ baseUrl: server.url })
  const { id } = await client.files.add(new TextEncoder().encode('<script>alert(1)</script>'), {
    name: 'a\u2028"; b\'s (1)*.html',
    mediaType: 'text/html',
  })
  const { headers } = await fetch(`${server.url}/api/v1/files/${id}/content`)
  expect(headers.get('content-type')).toBe('application/octet-stream')
  expect(headers.get('content-disposition')).toBe("attachment; filename*=UTF-8''a%E2%80%A8%22%3B%20b%27s%20%281%29%2A.html")
  expect(headers.get('x-content-type-options')).toBe('nosniff')
})

test('uploads are refused above the limit, without a name and in types that pages may send to any origin', async () => {
  const server = await runServer({ files: { maxBytes: 1_000 } })
  const upload = async (query: string, body: Uint8Array, type: string) => {
    const answer = await fetch(`${server.url}/api/v1/files?${query}`, {
      method: 'POST',
      headers: { 'content-type': type },
      body: Uint8Array.from(body),
    })
    const problem: unknown = await answer.json()
    return [answer.status, Reflect.get(Object(problem), 'code')]
  }
  const octets = 'application/octet-stream'
  expect(await upload('name=a', new Uint8Array(1_001), octets)).toEqual([413, 'REQUEST_TOO_LARGE'])
  expect(await upload('', PNG, octets)).toEqual([422, 'INPUT_INVALID'])
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'image/png']) {
    expect(await upload('name=a', PNG, type), type).toEqual([415, 'MEDIA_TYPE_UNSUPPORTED'])
  }
})

test('files of another user are unknown in every route, and cannot be attached', async () => {
  const server = await runServer({}, { isKeyed: true })
  const [ada, eve] = [await server.keyOf('ada'), await server.keyOf('eve')]
  const { id } = await createClient({ baseUrl: server.url, apiKey: ada }).files.add(PNG, { name: 'a.png' })
  for (const [method, path] of [
    ['GET', `/api/v1/files/${id}`],
    ['GET', `/api/v1/files/${id}/content`],
    ['DELETE', `/api/v1/files/${id}`],
  ] as const) {
    const answer = await send(server.url, method, path, { key: eve })
    expect([answer.status, answer.json.code], `${method} ${path}`).toEqual([404, 'FILE_NOT_FOUND'])
  }
  const client = createClient({ baseUrl: server.url, apiKey: eve })
  const thread = await client.threads.create()
  const attached = client.messages.add(thread.id, { role: 'user', content: 'x', attachments: [{ fileId: id }] })
  expect(await rejection(attached)).toMatchObject({ code: 'FILE_NOT_FOUND' })
  expect((await client.files.list()).items).toEqual([])
})

test('files that a tool returned are listed with its call and in its update, and their bytes are read by their ids', async () => {
  const draw = {
    expose: 'api' as const,
    run: (_: unknown, { addFile }: FunctionContext) => addFile({ mediaType: 'image/png', data: PNG }),
  }
  const model = createScriptedProvider({ replies: [calling(['draw', {}]), 'done'] })
  const server = await runServer({ simulator: false, functions: { draw }, providers: { scripted: model } })
  const client = createClient({ baseUrl: server.url })
  const thread = await client.threads.create()
  const definition = {
    name: 'draw',
    type: 'sequential',
    steps: [{ id: 'draw', model: 'scripted/m', action: 'generate', prompt: 'x', tools: ['function/draw'] }],
  } as const
  const flow = await client.flows.create({ threadId: thread.id, definition })
  const updates: unknown[] = []
  await client.flows.execute(flow.id, { input: 'x' })
  for await (const update of client.flows.follow(flow.id)) updates.push(update)
  const { stepResults } = await client.flows.get(flow.id)
  const files = stepResults[0]?.toolCalls?.[0]?.files ?? []
  expect(files).toMatchObject([{ name: 'file 1', mediaType: 'image/png' }])
  expect(updates).toContainEqual(expect.objectContaining({ type: 'tool_result', data: expect.objectContaining({ files }) }))
  expect(new Uint8Array(await client.files.read(files[0]?.file?.id ?? ''))).toEqual(PNG)
})
