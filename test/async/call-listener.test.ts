import { expect, test } from 'vitest'
import { callListener } from '../../src/async/call-listener.ts'

test('a listener that returns gives its result to the caller', () => {
  expect(callListener(() => 7)).toBe(7)
})

test('an error thrown by a listener is ignored', () => {
  const fail = () => {
    throw new Error('broken')
  }
  expect(callListener(fail)).toBeUndefined()
})

test('a rejection of a listener raises no unhandled rejection and stays visible to the caller', async () => {
  const unhandled: unknown[] = []
  const onUnhandled = (reason: unknown) => unhandled.push(reason)
  process.on('unhandledRejection', onUnhandled)
  const result = callListener(() => Promise.reject(new Error('broken')))
  await new Promise(setImmediate)
  process.off('unhandledRejection', onUnhandled)
  expect(unhandled).toEqual([])
  await expect(result).rejects.toThrow('broken')
})
