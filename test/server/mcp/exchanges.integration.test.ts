import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { LOCAL_CALLER } from '../../../src/server/access/caller.ts'
import { createCancellations, readMessage } from '../../../src/server/mcp/cancellations.ts'
import { createExchanges } from '../../../src/server/mcp/exchanges.ts'

/** Answers of a server on a port of the system, as requests come in, with the client's end of each. */
async function startAnswers() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  return async () => {
    const client = connect(port, '127.0.0.1')
    client.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
    const [, response]: [unknown, ServerResponse] = await new Promise((resolve) =>
      server.once('request', (...both) => resolve(both)),
    )
    return { client, response }
  }
}

const options = { recheckIntervalMs: 5, closeTimeoutMs: 10_000 }

test('a client that left before its request got here leaves nothing behind', async () => {
  const answer = await startAnswers()
  const { client, response } = await answer()
  const closed = once(response, 'close')
  client.destroy()
  await closed
  const exchanges = createExchanges(options)
  let looks = 0
  const { clientGone } = exchanges.open(response, async () => ++looks > 0)
  expect(clientGone.signal.aborted).toBe(true)
  expect(exchanges.size).toBe(0)
  const cancellations = createCancellations()
  const call = readMessage({ id: 1, method: 'tools/call' })
  if (!call) throw new Error('Expected a message')
  cancellations.take(call, { caller: LOCAL_CALLER, session: 'one' }, clientGone)
  expect(cancellations.size).toBe(0)
  await exchanges.close()
  expect(looks).toBe(0)
})

test('who waits is to answer when the caller is none any more, and nobody else', async () => {
  const answer = await startAnswers()
  const exchanges = createExchanges(options)
  const [lost, kept] = [await answer(), await answer()]
  const { respondNow } = exchanges.open(lost.response, async () => false)
  const other = exchanges.open(kept.response, async () => true)
  await once(respondNow, 'abort')
  expect(other.respondNow.aborted).toBe(false)
  lost.client.destroy()
  kept.client.destroy()
  await exchanges.close()
  expect(exchanges.size).toBe(0)
})

test('the end lets all who wait answer, and waits for their answers', async () => {
  const answer = await startAnswers()
  const exchanges = createExchanges(options)
  const { client, response } = await answer()
  const { respondNow, clientGone } = exchanges.open(response, async () => true)
  respondNow.addEventListener('abort', () => response.end('with what there is'))
  await exchanges.close()
  expect(clientGone.signal.aborted).toBe(true)
  expect(exchanges.open((await answer()).response, async () => true).respondNow.aborted).toBe(true)
  client.destroy()
})
