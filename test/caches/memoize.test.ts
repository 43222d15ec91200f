import { expect, test } from 'vitest'
import { createCache } from '../../src/caches/create-cache.ts'

const create = (now?: () => number) => createCache<unknown>({ policy: 'lru', maxEntries: 100, ...(now && { now }) })

/** A function that counts its calls and ends when it is released. */
function createHeld<Result>(result: () => Result) {
  let calls = 0
  let release = () => {}
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  const compute = async (..._: readonly unknown[]): Promise<Result> => {
    calls += 1
    await released
    return result()
  }
  return { compute, release: () => release(), calls: () => calls }
}

test('a thousand equal calls at the same time call the function once', async () => {
  const { compute, release, calls } = createHeld(() => 'answer')
  const memoized = create().memoize(compute, { namespace: 'n', ttlMs: 1_000 })
  const results = Array.from({ length: 1_000 }, () => memoized({ b: 1, a: [2] }))
  release()
  expect(new Set(await Promise.all(results))).toEqual(new Set(['answer']))
  expect(calls()).toBe(1)
  expect(await memoized({ a: [2], b: 1 })).toBe('answer')
  expect(calls()).toBe(1)
})

test('a rejected call is shared while it runs and not kept', async () => {
  const { compute, release, calls } = createHeld(() => {
    throw new Error('no answer')
  })
  const memoized = create().memoize(compute, { namespace: 'n', ttlMs: 1_000 })
  const results = Promise.allSettled([memoized(1), memoized(1)])
  release()
  expect((await results).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  expect(calls()).toBe(1)
  await expect(memoized(1)).rejects.toThrow('no answer')
  expect(calls()).toBe(2)
})

test('a function that throws at once rejects and is called again', async () => {
  let calls = 0
  const memoized = create().memoize(
    () => {
      calls += 1
      if (calls === 1) throw new Error('too early')
      return calls
    },
    { namespace: 'n', ttlMs: 1_000 },
  )
  await expect(memoized()).rejects.toThrow('too early')
  expect(await memoized()).toBe(2)
  expect(await memoized()).toBe(2)
})

test('a result is kept for its time', async () => {
  let now = 1_000
  let calls = 0
  const memoized = create(() => now).memoize(() => ++calls, { namespace: 'n', ttlMs: 10 })
  expect([await memoized(), await memoized()]).toEqual([1, 1])
  now = 1_011
  expect(await memoized()).toBe(2)
})

test('functions with different namespaces share nothing, even where their keys look alike', async () => {
  const cache = create()
  const one = cache.memoize(() => 'one', { namespace: 'a', ttlMs: 1_000, key: () => 'b"c' })
  const two = cache.memoize(() => 'two', { namespace: 'a"b', ttlMs: 1_000, key: () => 'c' })
  expect([await one(), await two()]).toEqual(['one', 'two'])
})

test('a result that was computed before its key was removed is not kept after it', async () => {
  const { compute, release, calls } = createHeld(() => 'old')
  const cache = create()
  const memoized = cache.memoize(compute, { namespace: 'n', ttlMs: 1_000 })
  const result = memoized(1)
  cache.clear()
  release()
  expect(await result).toBe('old')
  expect(cache.stats().entries).toBe(0)
  await memoized(1)
  expect(calls()).toBe(2)
})

test('arguments that differ have different results, whatever their form', async () => {
  let calls = 0
  const memoized = create().memoize((..._: readonly unknown[]) => ++calls, { namespace: 'n', ttlMs: 1_000 })
  const values = [[], [undefined], [null], ['null'], ['undefined'], [Number.NaN], [1], ['1'], [1n], [new Date(1)], [[1]], [1, 1]]
  const more = [
    [{ a: 1 }],
    [{ a: undefined }],
    [{}],
    [['a', 1]],
    [{ 'a":1,"b': 2 }],
    [{ a: 1, b: 2 }],
    [Number.POSITIVE_INFINITY],
  ]
  const results = []
  for (const args of [...values, ...more]) results.push(await memoized(...args))
  expect(new Set(results).size).toBe(values.length + more.length)
})

test('arguments without a key are refused with what was found and where', async () => {
  const memoized = create().memoize((..._: readonly unknown[]) => 1, { namespace: 'n', ttlMs: 1_000 })
  const circular: Record<string, unknown> = {}
  circular.self = circular
  await expect(memoized({ after: [() => 1] })).rejects.toThrow(/argument\[0\]\.after\[0\] .* found a function/)
  await expect(memoized(new Map())).rejects.toMatchObject({ code: 'INPUT_INVALID' })
  await expect(memoized(circular)).rejects.toThrow(/levels/)
})
