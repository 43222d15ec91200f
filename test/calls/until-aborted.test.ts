import { getEventListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import { linkSignal, untilAborted } from '../../src/async/until-aborted.ts'

describe('waiting until an abort', () => {
  test.each([
    ['an answer', () => Promise.resolve(1)],
    ['a failure', () => Promise.reject(new Error('no'))],
  ])('leaves no listener behind %s', async (_, work) => {
    const { signal } = new AbortController()
    await untilAborted(work(), signal).catch(() => {})
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
  })

  test('rejects with the reason of the abort even if the work never ends', async () => {
    const controller = new AbortController()
    const waiting = untilAborted(new Promise(() => {}), controller.signal)
    controller.abort('stop')
    await expect(waiting).rejects.toBe('stop')
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0)
  })

  test('ignores a result that comes after the abort', async () => {
    await expect(untilAborted(Promise.resolve(1), AbortSignal.abort('stop'))).rejects.toBe('stop')
  })

  test('handles a rejection that comes after the abort', async () => {
    const controller = new AbortController()
    let fail = (_error: Error) => {}
    const waiting = untilAborted(new Promise<never>((_, reject) => (fail = reject)), controller.signal)
    controller.abort('stop')
    await expect(waiting).rejects.toBe('stop')
    fail(new Error('late'))
  })
})

describe('a controller linked to a signal', () => {
  test('aborts with the reason of the signal', () => {
    const parent = new AbortController()
    const child = new AbortController()
    linkSignal(parent.signal, child)
    parent.abort('stop')
    expect(child.signal.reason).toBe('stop')
  })

  test('is aborted at once by an aborted signal', () => {
    const child = new AbortController()
    linkSignal(AbortSignal.abort('stop'), child)
    expect(child.signal.reason).toBe('stop')
  })

  test('is not aborted by the signal once it is unlinked', () => {
    const parent = new AbortController()
    const child = new AbortController()
    linkSignal(parent.signal, child)()
    parent.abort('stop')
    expect(child.signal.aborted).toBe(false)
    expect(getEventListeners(parent.signal, 'abort')).toHaveLength(0)
  })
})
