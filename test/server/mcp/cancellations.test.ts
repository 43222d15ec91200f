import { expect, test } from 'vitest'
import { type Caller, LOCAL_CALLER } from '../../../src/server/access/caller.ts'
import { createCancellations, readMessage } from '../../../src/server/mcp/cancellations.ts'

const callOf = (id: unknown) => readMessage({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'follow_flow' } })
const cancelOf = (requestId: unknown) => readMessage({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId } })

const keyed = (userId: string, keyId: string): Caller => ({ ...LOCAL_CALLER, via: 'key', userId, keyId })

test('a call is cancelled by its caller, in its session, under its id, and by nothing else', () => {
  const cancellations = createCancellations()
  const handle = (message: ReturnType<typeof readMessage>, caller: Caller, session?: string | string[]) => {
    const clientGone = new AbortController()
    if (message) cancellations.handle(message, { caller, session }, clientGone)
    return clientGone
  }
  const caller = keyed('user-1', 'key-1')
  const { signal } = handle(callOf(1), caller, 'one')
  handle(cancelOf(1), caller, 'two')
  handle(cancelOf(1), caller)
  handle(cancelOf(1), caller, ['one'])
  handle(cancelOf('1'), caller, 'one')
  handle(cancelOf(2), caller, 'one')
  handle(cancelOf(1), keyed('user-2', 'key-2'), 'one')
  handle(cancelOf(1), keyed('user-1', 'key-2'), 'one')
  handle(cancelOf(1), LOCAL_CALLER, 'one')
  expect(signal.aborted).toBe(false)
  handle(cancelOf(1), caller, 'one')
  expect(signal.aborted).toBe(true)
})

test('a call that has ended is removed, and a later call with the same id stays', () => {
  const cancellations = createCancellations()
  const origin = { caller: LOCAL_CALLER, session: 'one' }
  const [first, second] = [new AbortController(), new AbortController()]
  const call = callOf(1)
  if (!call) throw new Error('Expected a message')
  cancellations.handle(call, origin, first)
  cancellations.handle(call, origin, second)
  expect(cancellations.size).toBe(1)
  first.abort()
  expect(cancellations.size).toBe(1)
  second.abort()
  expect(cancellations.size).toBe(0)
})

test('a call of a client that has already disconnected is not registered', () => {
  const cancellations = createCancellations()
  const clientGone = new AbortController()
  clientGone.abort()
  const call = callOf(1)
  if (!call) throw new Error('Expected a message')
  cancellations.handle(call, { caller: LOCAL_CALLER, session: 'one' }, clientGone)
  expect(cancellations.size).toBe(0)
})

test('a body that is not a message has no routing fields', () => {
  for (const body of [undefined, null, [], 'x', {}, { method: 1 }, { method: 'x', id: {} }])
    expect(readMessage(body)).toBeUndefined()
})
