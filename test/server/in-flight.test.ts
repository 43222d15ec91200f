import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { type Caller, LOCAL_CALLER } from '../../src/server/access/caller.ts'
import { createInFlight, type Limit } from '../../src/server/streaming/in-flight.ts'

const RECHECK_INTERVAL_MS = 250
const GRACE_MS = 10_000
const caller: Caller = { ...LOCAL_CALLER, via: 'key', userId: 'ada', keyId: 'key-1' }

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

/** A register whose keys are valid until they are revoked. */
function createRegister(limits: { readonly maxConnections?: number; readonly maxConnectionsPerUser?: number } = {}) {
  const revoked = new Set<string | undefined>()
  const inFlight = createInFlight({
    authenticator: { isCurrent: async ({ keyId }) => !revoked.has(keyId) },
    settings: {
      sockets: {
        maxConnections: 100,
        maxConnectionsPerUser: 100,
        maxSubscriptions: 1,
        maxMessageBytes: 1,
        maxBufferedBytes: 1,
        slowAfterMs: 5_000,
        pingEveryMs: 1_000,
        ...limits,
      },
    },
    recheckIntervalMs: RECHECK_INTERVAL_MS,
  })
  return { inFlight, revoke: (keyId: string) => revoked.add(keyId) }
}

const createResponse = () => new ServerResponse(new IncomingMessage(new Socket()))
const codeOf = ({ reason }: AbortSignal) => OrchestratorError.from(reason).code

test('an entry whose key was revoked must respond with UNAUTHENTICATED, once, and the others continue', async () => {
  const { inFlight, revoke } = createRegister()
  const respondNow = vi.fn()
  inFlight.add({ caller, respondNow })
  const other = inFlight.open(createResponse(), { caller: { ...caller, keyId: 'key-2' } })
  const background = vi.fn()
  inFlight.add({ respondNow: background })
  await vi.advanceTimersByTimeAsync(RECHECK_INTERVAL_MS)
  expect(respondNow).not.toHaveBeenCalled()
  revoke('key-1')
  await vi.advanceTimersByTimeAsync(3 * RECHECK_INTERVAL_MS)
  expect(respondNow.mock.calls).toEqual([[expect.objectContaining({ code: 'UNAUTHENTICATED' })]])
  expect(other.respondNow.aborted).toBe(false)
  expect(background).not.toHaveBeenCalled()
})

test('a recheck of the entry ends it with its own error, and is not called after the key was revoked', async () => {
  const { inFlight, revoke } = createRegister()
  const error = new OrchestratorError('FLOW_NOT_FOUND', 'no flow')
  const respondNow = vi.fn()
  const recheck = vi.fn(async () => (recheck.mock.calls.length < 2 ? undefined : error))
  inFlight.add({ caller, respondNow, recheck })
  await inFlight.recheck()
  expect(respondNow).not.toHaveBeenCalled()
  await inFlight.recheck()
  expect(respondNow.mock.calls).toEqual([[error]])
  const refused = vi.fn(async () => error)
  const second = vi.fn()
  inFlight.add({ caller, respondNow: second, recheck: refused })
  revoke('key-1')
  await inFlight.recheck()
  expect(refused).not.toHaveBeenCalled()
  expect(second.mock.calls).toEqual([[expect.objectContaining({ code: 'UNAUTHENTICATED' })]])
})

test('a recheck that rejects ends no entry and keeps no other entry from its recheck', async () => {
  const { inFlight } = createRegister()
  const respondNow = vi.fn()
  const recheck = vi.fn().mockRejectedValue(new Error('no database'))
  inFlight.add({ caller, respondNow, recheck })
  const next = vi.fn(async () => undefined)
  inFlight.add({ caller, respondNow, recheck: next })
  await vi.advanceTimersByTimeAsync(2 * RECHECK_INTERVAL_MS)
  expect([recheck.mock.calls.length, next.mock.calls.length]).toEqual([2, 2])
  expect(respondNow).not.toHaveBeenCalled()
})

test('an entry that is released during its recheck is not ended', async () => {
  const { inFlight, revoke } = createRegister()
  const respondNow = vi.fn()
  const release = inFlight.add({ caller, respondNow })
  revoke('key-1')
  const rechecked = inFlight.recheck()
  release()
  await rechecked
  expect(respondNow).not.toHaveBeenCalled()
})

test('connections are limited by name, per user and in total, until they are released', () => {
  const { inFlight } = createRegister({ maxConnections: 3, maxConnectionsPerUser: 2 })
  const add = (userId: string, limit?: Limit) => inFlight.add({ caller: { ...caller, userId }, limit, respondNow: () => {} })
  const release = add('ada', 'WebSockets')
  add('ada', 'WebSockets')
  expect(() => add('ada', 'WebSockets')).toThrow('Too many WebSockets of this user are open')
  add('bob', 'WebSockets')
  expect(() => add('bob', 'WebSockets')).toThrow('Too many WebSockets are open')
  add('ada', 'event streams')
  for (let count = 0; count < 10; count++) add('ada')
  release()
  release()
  add('bob', 'WebSockets')
  expect(() => add('bob', 'WebSockets')).toThrow(expect.objectContaining({ code: 'RATE_LIMITED' }))
})

test('the client of a request has gone when its response closes, and also when it was closed before', () => {
  const { inFlight } = createRegister()
  const response = createResponse()
  const { clientGone, release } = inFlight.open(response, { caller })
  expect(clientGone.signal.aborted).toBe(false)
  response.emit('close')
  expect(clientGone.signal.aborted).toBe(true)
  const late = inFlight.open(createResponse().destroy())
  expect(late.clientGone.signal.aborted).toBe(true)
  release()
  late.release()
  expect(inFlight.size).toBe(0)
})

test('closing ends every entry with SERVER_CLOSING and resolves when the last one is released', async () => {
  const { inFlight } = createRegister()
  const requests = [inFlight.open(createResponse(), { caller }), inFlight.open(createResponse())]
  const onClosed = vi.fn()
  const closed = inFlight.close(GRACE_MS).then(onClosed)
  expect(requests.map(({ respondNow }) => codeOf(respondNow))).toEqual(['SERVER_CLOSING', 'SERVER_CLOSING'])
  requests[0]?.release()
  await vi.advanceTimersByTimeAsync(GRACE_MS - 1)
  expect(onClosed).not.toHaveBeenCalled()
  requests[1]?.release()
  await closed
  expect(vi.getTimerCount()).toBe(0)
})

test('closing waits no longer than the grace period, and immediately resolves without entries', async () => {
  const { inFlight } = createRegister()
  inFlight.add({ respondNow: () => {} })
  const closed = inFlight.close(GRACE_MS)
  await vi.advanceTimersByTimeAsync(GRACE_MS)
  await closed
  await createRegister().inFlight.close(GRACE_MS)
})

test('an entry that is added while the server closes is ended as well', async () => {
  const { inFlight } = createRegister()
  await inFlight.close(GRACE_MS)
  const { respondNow } = inFlight.open(createResponse(), { caller })
  await Promise.resolve()
  expect(codeOf(respondNow)).toBe('SERVER_CLOSING')
})

test('slow readers are checked every second, and no longer after closing', async () => {
  const { inFlight } = createRegister()
  const closeIfSlow = vi.fn()
  const release = inFlight.add({ caller, respondNow: () => release(), closeIfSlow })
  await vi.advanceTimersByTimeAsync(2_000)
  expect(closeIfSlow).toHaveBeenCalledTimes(2)
  await inFlight.close(GRACE_MS)
  await vi.advanceTimersByTimeAsync(2_000)
  expect(closeIfSlow).toHaveBeenCalledTimes(2)
})
