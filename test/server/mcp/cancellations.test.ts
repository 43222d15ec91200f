import { expect, test } from 'vitest'
import { type Caller, LOCAL_CALLER } from '../../../src/server/access/caller.ts'
import { createCancellations, readMessage } from '../../../src/server/mcp/cancellations.ts'

const callOf = (id: unknown) => readMessage({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'follow_flow' } })
const cancelOf = (requestId: unknown) => readMessage({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId } })

const keyed = (userId: string, keyId: string): Caller => ({ ...LOCAL_CALLER, via: 'key', userId, keyId })

test('a call is cancelled by its caller, in its session, under its id, and by nothing else', () => {
  const cancellations = createCancellations()
  const take = (message: ReturnType<typeof readMessage>, caller: Caller, session?: string | string[]) => {
    const gone = new AbortController()
    if (message) cancellations.take(message, { caller, session }, gone)
    return gone
  }
  const caller = keyed('user-1', 'key-1')
  const { signal } = take(callOf(1), caller, 'one')
  take(cancelOf(1), caller, 'two')
  take(cancelOf(1), caller)
  take(cancelOf(1), caller, ['one'])
  take(cancelOf('1'), caller, 'one')
  take(cancelOf(2), caller, 'one')
  take(cancelOf(1), keyed('user-2', 'key-2'), 'one')
  take(cancelOf(1), keyed('user-1', 'key-2'), 'one')
  take(cancelOf(1), LOCAL_CALLER, 'one')
  expect(signal.aborted).toBe(false)
  take(cancelOf(1), caller, 'one')
  expect(signal.aborted).toBe(true)
})

test('what is over is forgotten, and takes no later call of the same id along', () => {
  const cancellations = createCancellations()
  const place = { caller: LOCAL_CALLER, session: 'one' }
  const [first, second] = [new AbortController(), new AbortController()]
  const call = callOf(1)
  if (!call) throw new Error('Expected a message')
  cancellations.take(call, place, first)
  cancellations.take(call, place, second)
  expect(cancellations.size).toBe(1)
  first.abort()
  expect(cancellations.size).toBe(1)
  second.abort()
  expect(cancellations.size).toBe(0)
})

test('what is no message is none', () => {
  for (const body of [undefined, null, [], 'x', {}, { method: 1 }, { method: 'x', id: {} }])
    expect(readMessage(body)).toBeUndefined()
})
