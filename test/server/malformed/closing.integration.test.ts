import { expect, test } from 'vitest'
import { problem } from '../../../src/protocol/problem.ts'
import { createHttpServer } from '../../../src/server/server.ts'
import { openTestPolyphony } from '../../support/polyphony.ts'
import { send } from '../running-server.ts'

test('a request during closing gets SERVER_CLOSING in the format of all other errors', async () => {
  const polyphony = await openTestPolyphony({ server: { port: 0 } })
  const server = await createHttpServer(polyphony)
  let leave = () => {}
  server.app.addHook('preClose', () => new Promise<void>((resolve) => (leave = resolve)))
  const url = await server.listen()
  const closed = server.close()
  const me = await send(url, 'GET', '/api/v1/me')
  const ready = await send(url, 'GET', '/readyz')
  const model = await send(url, 'GET', '/v1/models')
  leave()
  await closed
  await polyphony.close()
  expect([me.status, me.json.code]).toEqual([503, 'SERVER_CLOSING'])
  expect(me.headers.get('content-type')).toMatch(/^application\/problem\+json/)
  expect(problem.safeParse(me.json).error).toBe(undefined)
  expect([ready.status, ready.json.status]).toEqual([503, 'closing'])
  expect([model.status, model.json.error]).toEqual([503, expect.objectContaining({ code: 'server_closing' })])
})
