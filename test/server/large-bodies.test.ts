import { EventEmitter } from 'node:events'
import { Readable } from 'node:stream'
import Fastify from 'fastify'
import { expect, onTestFinished, test } from 'vitest'
import { createLargeBodies } from '../../src/server/requests/large-bodies.ts'

/** A route whose responses wait until they are released. */
async function open() {
  const bodies = createLargeBodies({ bodyLimitBytes: 100, maxFileBytes: 300 })
  const app = Fastify()
  onTestFinished(() => app.close())
  const events = new EventEmitter()
  const release = new Promise<void>((resolve) => events.once('release', resolve))
  let running = 0
  app.post('/', { bodyLimit: bodies.jsonLimitBytes, preParsing: bodies.preParsing }, async () => {
    running++
    events.emit('running')
    await release
    return 'done'
  })
  app.setErrorHandler<Error & { code: string }>((error, _, reply) => reply.code(400).send(error.code))
  app.decorateRequest('caller')
  app.addHook('onRequest', async (request) => {
    request.caller = { userId: String(request.headers['x-user']), scopes: [], via: 'key' }
  })
  const headers = (user: string) => ({ 'content-type': 'application/json', 'x-user': user })
  const text = (bytes: number) => JSON.stringify('x'.repeat(bytes - 2))
  const ask = (bytes: number, user = 'ada') =>
    app.inject({ method: 'POST', url: '/', payload: text(bytes), headers: headers(user) })
  const askInChunks = (bytes: number, user = 'ada') => {
    const chunks = Readable.from(text(bytes).match(/.{1,50}/g) ?? [], { objectMode: false })
    return app.inject({
      method: 'POST',
      url: '/',
      payload: chunks,
      headers: { ...headers(user), 'transfer-encoding': 'chunked' },
    })
  }
  const untilRunning = async (count: number) => {
    while (running < count) await new Promise((resolve) => events.once('running', resolve))
  }
  return { bodies, ask, askInChunks, untilRunning, release: () => events.emit('release') }
}

test('a body may be larger by one file in base64', () => {
  expect(createLargeBodies({ bodyLimitBytes: 100, maxFileBytes: 300 }).jsonLimitBytes).toBe(500)
})

test('large bodies are held up to eight of the largest, and are free once they are answered', async () => {
  const { ask, untilRunning, release } = await open()
  const held = Array.from({ length: 8 }, (_, index) => ask(500, index % 2 === 0 ? 'ada' : 'bob'))
  await untilRunning(8)
  expect((await ask(101, 'eve')).body).toBe('RATE_LIMITED')
  const small = ask(100)
  await untilRunning(9)
  release()
  expect((await Promise.all([...held, small])).map(({ body }) => body)).toEqual(Array.from({ length: 9 }, () => 'done'))
  expect((await ask(500)).body).toBe('done')
})

test('one user holds at most half of them', async () => {
  const { ask, untilRunning, release } = await open()
  const held = Array.from({ length: 4 }, () => ask(500))
  await untilRunning(4)
  expect((await ask(101)).body).toBe('RATE_LIMITED')
  const other = ask(500, 'bob')
  await untilRunning(5)
  release()
  expect(new Set((await Promise.all([...held, other])).map(({ body }) => body))).toEqual(new Set(['done']))
})

test('a body in chunks counts as much as has arrived', async () => {
  const { askInChunks, untilRunning, release } = await open()
  const held = [
    ...Array.from({ length: 20 }, () => askInChunks(100)),
    ...Array.from({ length: 8 }, (_, index) => askInChunks(500, index % 2 === 0 ? 'ada' : 'bob')),
  ]
  await untilRunning(28)
  expect((await askInChunks(101, 'eve')).body).toBe('RATE_LIMITED')
  release()
  expect(new Set((await Promise.all(held)).map(({ body }) => body))).toEqual(new Set(['done']))
  expect((await askInChunks(500)).body).toBe('done')
  expect((await askInChunks(501)).body).toBe('FST_ERR_CTP_BODY_TOO_LARGE')
})

test('a body above the limit of its route is refused without being counted', async () => {
  const { ask, release } = await open()
  release()
  for (let request = 0; request < 10; request++) expect((await ask(501)).body).toBe('FST_ERR_CTP_BODY_TOO_LARGE')
  expect((await ask(500)).body).toBe('done')
})
