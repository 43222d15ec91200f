import { afterEach, expect, test } from 'vitest'
import { mcpServersSchema } from '../../src/config/operations/operation-settings.ts'
import type { CallOrigin } from '../../src/domain/tools/call-origin.ts'
import { createMcpProvider } from '../../src/providers/mcp/mcp-provider.ts'
import { rejection } from '../support/caught.ts'
import { serveOldMcp } from '../support/mcp-sse.ts'

const origin: CallOrigin = { userId: 'ada', flowId: 'f', stepId: 's', idempotencyKey: 'f/s#1', metadata: {} }

const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

async function open(more: object = {}, onHang?: () => void) {
  const server = await serveOldMcp(onHang)
  const settings = mcpServersSchema.parse({ old: { url: `${server.url}/sse`, headers: { 'x-key': 'k' }, ...more } }).old
  if (!settings) throw new Error('expected settings of a server')
  const provider = createMcpProvider('old', settings)
  closing.push(async () => provider.close?.(), server.close)
  const call = (model: string, given: Readonly<Record<string, unknown>> = {}, signal = new AbortController().signal) =>
    provider.generate({ model, messages: [], settings: {}, arguments: given }, { signal, origin })
  return { server, provider, call }
}

test('a server of the older transport is listed and called, with the configured headers', async () => {
  const { server, provider, call } = await open()
  expect((await provider.operations?.())?.map(({ name }) => name)).toEqual(['echo', 'picture', 'fail', 'hang'])
  expect(await call('echo', { text: 'hello' })).toMatchObject({ text: 'hello', value: 'hello' })
  expect((await call('picture')).files).toMatchObject([{ mediaType: 'image/png' }])
  expect(await rejection(call('fail'))).toMatchObject({
    code: 'STEP_FAILED',
    message: expect.stringContaining('the shop is closed'),
  })
  expect(server.calls).toEqual(['hello'])
  expect(server.requests.every(({ headers }) => headers['x-key'] === 'k')).toBe(true)
})

test('an abort ends a call at once, and the connection stays', async () => {
  const abort = new AbortController()
  const { server, call } = await open({}, () => abort.abort(new Error('stop')))
  expect(await rejection(call('hang', {}, abort.signal))).toMatchObject({ message: 'stop' })
  expect(await call('echo', { text: 'again' })).toMatchObject({ text: 'again' })
  expect(server.requests.filter(({ method }) => method === 'GET')).toHaveLength(1)
})

test('a server that was started again fails the call in flight, and is connected to anew by the next one', async () => {
  let restart = () => {}
  const { server, call } = await open({}, () => restart())
  restart = server.restart
  expect(await rejection(call('hang'))).toMatchObject({ code: 'PROVIDER_UNAVAILABLE', retryable: true })
  expect(await call('echo', { text: 'back' })).toMatchObject({ text: 'back' })
  // Also where no call was in flight.
  server.restart()
  await expect
    .poll(() =>
      call('echo', { text: 'later' }).then(
        ({ text }) => text,
        () => undefined,
      ),
    )
    .toBe('later')
})

test('a dead server is an error of the provider', async () => {
  const { server, call } = await open()
  await server.close()
  expect(await rejection(call('echo', { text: 'x' }))).toMatchObject({ code: 'PROVIDER_UNAVAILABLE' })
})

test('an answer that is longer than its bound ends the connection', async () => {
  const { call } = await open({ maxBytes: 100 })
  expect(await rejection(call('echo', { text: 'x'.repeat(200) }))).toMatchObject({ code: 'OUTPUT_INVALID' })
  expect(await rejection(call('echo', { text: 'x'.repeat(11_000_000) }))).toMatchObject({
    code: 'OUTPUT_INVALID',
    details: { maxBytes: 100 },
  })
  expect(await call('echo', { text: 'short' })).toMatchObject({ text: 'short' })
})
