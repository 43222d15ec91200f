import { expect, test } from 'vitest'
import { createBatchedRead } from '../../src/repositories/postgres/batched-read.ts'

function scripted() {
  const loads: { keys: readonly string[]; answer: () => void; fail: (error: unknown) => void }[] = []
  const read = createBatchedRead<string, string>(
    (keys) =>
      new Promise((resolve, reject) => {
        loads.push({ keys, answer: () => resolve((key) => `value of ${key}`), fail: reject })
      }),
  )
  return { read, loads }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

test('a batched read sends one query for all keys of one turn', async () => {
  const { read, loads } = scripted()
  const values = Promise.all([read('a'), read('b')])
  await turn()
  expect(loads.map(({ keys }) => keys)).toEqual([['a', 'b']])
  loads[0]?.answer()
  expect(await values).toEqual(['value of a', 'value of b'])
})

test('a batched read queries a key again that is requested while it is loading', async () => {
  const { read, loads } = scripted()
  const first = read('a')
  await turn()
  const second = read('a')
  await turn()
  expect(loads).toHaveLength(1)
  loads[0]?.answer()
  await first
  await turn()
  expect(loads).toHaveLength(2)
  loads[1]?.answer()
  expect(await second).toBe('value of a')
})

test('a batched read rejects only the callers whose query failed', async () => {
  const { read, loads } = scripted()
  const first = read('a')
  await turn()
  const second = read('b')
  loads[0]?.fail(new Error('away'))
  await expect(first).rejects.toThrow('away')
  await turn()
  loads[1]?.answer()
  expect(await second).toBe('value of b')
})
