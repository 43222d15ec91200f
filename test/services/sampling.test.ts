import { expect, test } from 'vitest'
import { createLifeWorld } from './life-world.ts'

const LIMIT_BYTES = 256_000_000

test('services that were started at different moments are sampled at the same ones', async () => {
  const moments: number[][] = []
  for (const startMs of [0, 333, 1_999]) {
    const own: number[] = []
    moments.push(own)
    const usage = async () => {
      own.push(world.nowMs())
      return { processes: 1, memoryBytes: 1, cpuPercent: 0 }
    }
    const world = createLifeWorld({ usage })
    await world.advance(startMs)
    void world.life.start()
    await world.advance(20_000 - startMs)
  }
  const [first = [], ...others] = moments
  expect(first).toEqual([2_000, 4_000, 6_000, 8_000, 10_000, 12_000, 14_000, 16_000, 18_000, 20_000])
  for (const other of others) expect(first.slice(-9)).toEqual(other.slice(-9))
})

for (const bytesPerMs of [100_000, 1_000_000, 2_000_000]) {
  test(`a run that grows by ${bytesPerMs} bytes a millisecond is stopped soon after its limit`, async () => {
    const usage = async () => ({ processes: 1, memoryBytes: world.nowMs() * bytesPerMs, cpuPercent: 0 })
    const world = createLifeWorld({ usage, memoryBytes: LIMIT_BYTES })
    void world.life.start()
    while (!world.states.includes('stopping')) await world.advance(1)
    const bytes = world.nowMs() * bytesPerMs
    expect(bytes).toBeGreaterThan(LIMIT_BYTES)
    expect(bytes).toBeLessThan(2 * LIMIT_BYTES)
    expect(world.limits).toEqual(['memory'])
  })
}

test('a run with a limit that does not grow is sampled no more often than any other', async () => {
  let samples = 0
  const usage = async () => {
    samples++
    return { processes: 1, memoryBytes: 200_000_000, cpuPercent: 0 }
  }
  const { life, advance } = createLifeWorld({ usage, memoryBytes: LIMIT_BYTES })
  void life.start()
  await advance(100_000)
  expect(samples).toBeLessThan(60)
})
