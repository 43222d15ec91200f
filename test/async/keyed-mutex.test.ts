import { expect, test } from 'vitest'
import { createKeyedMutex } from '../../src/async/keyed-mutex.ts'

const turn = () => new Promise(setImmediate)

test('work under one key runs one at a time, in the order of the calls', async () => {
  const exclusively = createKeyedMutex()
  const events: string[] = []
  const work = (name: string) => async () => {
    events.push(`${name} starts`)
    await turn()
    events.push(`${name} ends`)
    return name
  }
  const results = await Promise.all([exclusively('key', work('first')), exclusively('key', work('second'))])
  expect(results).toEqual(['first', 'second'])
  expect(events).toEqual(['first starts', 'first ends', 'second starts', 'second ends'])
})

test('work under different keys runs concurrently', async () => {
  const exclusively = createKeyedMutex()
  let release = () => {}
  const held = exclusively('one', () => new Promise<void>((resolve) => (release = resolve)))
  await expect(exclusively('other', async () => 'done')).resolves.toBe('done')
  release()
  await held
})

test('a failed work rejects for its caller, and the next work under its key runs', async () => {
  const exclusively = createKeyedMutex()
  const failed = exclusively('key', () => Promise.reject(new Error('broken')))
  const next = exclusively('key', async () => 'done')
  await expect(failed).rejects.toThrow('broken')
  await expect(next).resolves.toBe('done')
})
