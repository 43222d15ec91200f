import { expect, test } from 'vitest'
import { POOL_STRATEGIES } from '../../src/config/pools/pool-settings.ts'
import { killModels } from './killed-models.ts'
import { createModelServers } from './model-servers.ts'

const FLOWS = 100

const title = `${FLOWS} streamed flows over a pool complete although one of its two model servers is killed twice`

test.each(POOL_STRATEGIES)(`%s: ${title}`, async (strategy) => {
  const world = createModelServers()
  try {
    const { completed, repeated, restarts, attempts, shareBackMs } = await killModels(world, FLOWS, strategy)
    expect({ completed, repeated, restarts }).toEqual({ completed: FLOWS, repeated: 0, restarts: 2 })
    // Every answer and every call that was lost is a row of its own.
    const lost = attempts.filter(({ error }) => error !== undefined)
    expect(attempts).toHaveLength(2 * FLOWS + lost.length)
    expect(lost.length).toBeGreaterThan(0)
    expect(new Set(lost.map(({ provider }) => provider))).toEqual(new Set(['writer-1']))
    expect(shareBackMs).toBeLessThan(30_000)
    console.info(`${lost.length} calls were lost with the server; its share was back after ${Math.round(shareBackMs)} ms`)
  } finally {
    expect(await world.end(), 'processes left behind').toBe(0)
  }
})
