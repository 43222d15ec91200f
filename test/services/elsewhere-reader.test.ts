import { expect, test } from 'vitest'
import { createElsewhereReader } from '../../src/services/elsewhere/reader.ts'
import { type FoundRun, STALE_MS } from '../../src/services/elsewhere/service-table.ts'
import type { ServiceEntry } from '../../src/services/service-entry.ts'

function open() {
  const failures: unknown[] = []
  const world = {
    nowMs: 1_000,
    rows: [] as readonly Partial<FoundRun>[],
    isDown: false,
    reads: 0,
    state: 'idle',
    failures,
  }
  // Only what the reader reads of an entry.
  const entry = { id: 'writer', life: { snapshot: () => ({ model: { state: world.state } }) } } as unknown as ServiceEntry
  const reader = createElsewhereReader({
    table: {
      async find() {
        world.reads++
        if (world.isDown) throw new Error('the database does not answer')
        const row = { serviceId: 'writer', address: 'http://127.0.0.1:1', state: 'running', ownerId: 'a', host: 'here' } as const
        return world.rows.map((more) => ({ ...row, ...more }))
      },
    },
    advertised: () => [entry],
    checkAddress: () => undefined,
    host: 'here',
    now: () => world.nowMs,
    monotonicNow: () => world.nowMs,
    onFailure: (error) => failures.push(error),
  })
  return { world, reader, find: () => reader.find('writer') }
}

test('a reading is shared by all callers within it, and is not repeated before its age', async () => {
  const { world, reader, find } = open()
  world.rows = [{}]
  expect(reader.read(1_000)).toBe(reader.read(1_000))
  await reader.read(1_000)
  expect(find()).toMatchObject({ state: 'running', since: new Date(1_000) })
  world.nowMs += 1_000
  expect(reader.read(1_000)).toBeUndefined()
  world.nowMs++
  await reader.read(1_000)
  expect(world.reads).toBe(2)
  reader.doubt()
  await reader.read(1_000)
  expect(world.reads).toBe(3)
  expect(reader.read(1_000)).toBeUndefined()
})

test('a run stays the same while its process confirms it, and is another one after an outage of it', async () => {
  const { world, reader, find } = open()
  const next = async (...rows: readonly Partial<FoundRun>[]) => {
    world.rows = rows
    await reader.readAgain()
    return find()
  }
  const first = await next({})
  expect(await next({})).toBe(first)
  const degraded = await next({ state: 'degraded' })
  expect(degraded).toMatchObject({ state: 'degraded', run: first?.run, ended: first?.ended })
  expect(first?.ended.aborted).toBe(false)
  await next({ state: 'stopping' })
  expect(first?.ended.aborted).toBe(true)
  const second = await next({})
  expect(second?.run).not.toBe(first?.run)
  const third = await next({ ownerId: 'b' })
  expect([second?.ended.aborted, third?.ended.aborted]).toEqual([true, false])
  const moved = await next({ ownerId: 'b', address: 'http://127.0.0.1:2' })
  expect([third?.ended.aborted, moved?.ended.aborted]).toEqual([true, false])
  await next()
  expect([moved?.ended.aborted, find()]).toEqual([true, undefined])
})

test('what a newer version states as its state is a service that does not answer yet', async () => {
  const { world, reader, find } = open()
  world.rows = [{ state: 'hibernating' as FoundRun['state'] }]
  await reader.readAgain()
  expect(find()).toMatchObject({ state: 'starting' })
})

test('what was read holds while the table cannot be read, until it is as old as what no one confirms', async () => {
  const { world, reader, find } = open()
  world.rows = [{}]
  await reader.readAgain()
  const known = find()
  world.isDown = true
  world.nowMs += STALE_MS
  await reader.readAgain()
  expect([find(), known?.ended.aborted]).toEqual([known, false])
  world.nowMs++
  await reader.readAgain()
  expect([find(), known?.ended.aborted]).toEqual([undefined, true])
  expect(world.failures).toHaveLength(2)
})

test('a service that this process runs is not read', async () => {
  const { world, reader, find } = open()
  world.rows = [{}]
  await reader.readAgain()
  const known = find()
  world.state = 'running'
  await reader.readAgain()
  expect([find(), known?.ended.aborted, world.reads]).toEqual([undefined, false, 1])
})
