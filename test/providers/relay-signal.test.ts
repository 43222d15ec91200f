import { getEventListeners } from 'node:events'
import { expect, test } from 'vitest'
import { createRelaySignal, toWholeSignal } from '../../src/providers/transport/relay-signal.ts'

test('a relay behaves as an AbortSignal for libraries', () => {
  const controller = new AbortController()
  const relay = createRelaySignal(controller.signal)
  const heard: string[] = []
  const removed = () => heard.push('removed')
  relay.addEventListener('abort', () => heard.push('function'))
  relay.addEventListener('abort', { handleEvent: () => heard.push('object') })
  relay.addEventListener('abort', removed)
  relay.removeEventListener('abort', removed)
  relay.onabort = () => heard.push('onabort')
  expect([relay instanceof AbortSignal, relay.aborted, relay.reason]).toEqual([true, false, undefined])
  expect(() => relay.throwIfAborted()).not.toThrow()
  const reason = new Error('enough')
  controller.abort(reason)
  expect(heard.sort()).toEqual(['function', 'object', 'onabort'])
  expect([relay.aborted, relay.reason]).toEqual([true, reason])
  expect(() => relay.throwIfAborted()).toThrow(reason)
})

test('a relay keeps one listener on its signal while it has listeners, and none afterwards', () => {
  const { signal } = new AbortController()
  const count = () => getEventListeners(signal, 'abort').length
  const relay = createRelaySignal(signal)
  const [first, second] = [() => {}, () => {}]
  expect(count()).toBe(0)
  relay.addEventListener('abort', first)
  relay.addEventListener('abort', second)
  relay.addEventListener('abort', first)
  expect(count()).toBe(1)
  relay.removeEventListener('abort', first)
  expect(count()).toBe(1)
  relay.removeEventListener('abort', second)
  expect(count()).toBe(0)
  relay.addEventListener('abort', first)
  relay.release()
  expect(count()).toBe(0)
})

test('an aborted relay notifies its listeners once and does not abort its signal', () => {
  const { signal } = new AbortController()
  const relay = createRelaySignal(signal)
  let heard = 0
  relay.addEventListener('abort', () => heard++)
  relay.abort()
  relay.abort()
  expect([heard, relay.aborted, signal.aborted, getEventListeners(signal, 'abort')]).toEqual([1, true, false, []])
  expect(relay.reason).toMatchObject({ name: 'AbortError' })
})

test('a relay is converted to a native signal', () => {
  const controller = new AbortController()
  const whole = toWholeSignal(createRelaySignal(controller.signal))
  expect(() => new Request('http://models.invalid', { signal: whole })).not.toThrow()
  controller.abort()
  expect(whole?.aborted).toBe(true)
  expect(toWholeSignal(controller.signal)).toBe(controller.signal)
})
