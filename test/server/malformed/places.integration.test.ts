import { expect, test } from 'vitest'
import { runServer } from '../running-server.ts'

test.each([
  [{ template: 'critique', parameters: { nope: 1 } }, '#/parameters/nope'],
  [{ definition: { name: 'a', type: 'sequential', steps: [], nope: 1 } }, '#/definition/nope'],
])('the pointer of a problem leads to its value in the body: %j', async (source, pointer) => {
  const { send } = await runServer()
  const thread = (await send('POST', '/api/v1/threads')).json
  const { json } = await send('POST', '/api/v1/flows', { body: { threadId: thread.id, ...source } })
  expect(json.errors).toContainEqual({ pointer, detail: 'unknown key' })
})
