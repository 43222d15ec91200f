import { expect, test } from 'vitest'
import { killModels } from './killed-models.ts'
import { createModelServers } from './model-servers.ts'

test('20 streamed flows over a pool complete although one of its two model servers is killed twice', async () => {
  const world = createModelServers()
  try {
    const { completed, repeated, restarts, attempts } = await killModels(world, 20, 'least_connections')
    expect({ completed, repeated, restarts }).toEqual({ completed: 20, repeated: 0, restarts: 2 })
    expect(attempts.filter(({ error }) => error === undefined)).toHaveLength(40)
  } finally {
    expect(await world.end(), 'processes left behind').toBe(0)
  }
})
