import { beforeEach, expect, test } from 'vitest'
import { createSkippedFlows } from '../../src/orchestrator/flows/skipped-flows.ts'
import type { UnrunnableDefinition } from '../../src/repositories/repository.ts'

const lines: unknown[] = []
let nowMs = 0
let reads = 0
let skipped: readonly UnrunnableDefinition[] = []

const create = () =>
  createSkippedFlows({
    queue: {
      claimNext: async () => ({ unrunnable: skipped.length }),
      unrunnable: async () => {
        reads++
        return skipped
      },
    },
    requirements: () => [],
    logger: { warn: (_, facts) => lines.push(facts) },
    now: () => new Date(nowMs),
  })
const request = { ownerId: 'a', startedAt: new Date(0), registered: [] }

beforeEach(() => {
  lines.length = 0
  nowMs = 1_000_000
  reads = 0
  skipped = [
    { name: 'Coded', version: '2', flows: 7 },
    { name: 'Plain', flows: 1 },
    { name: 'Newer', newerVersion: 9, flows: 1 },
  ]
})

test('definitions of skipped flows are logged once, by their requirements', async () => {
  const flows = create()
  flows.start()
  expect(await flows.claimNext(request)).toEqual({ unrunnable: 3 })
  await flows.claimNext(request)
  expect(lines).toEqual([{ definitions: ['Coded@2', 'Plain'] }])
  expect(reads).toBe(1)
  nowMs += 60_000
  skipped = [...skipped, { name: 'Late', version: '1', flows: 1 }]
  await flows.claimNext(request)
  await flows.claimNext(request)
  expect(lines.slice(1)).toEqual([{ definitions: ['Late@1'] }])
  expect(reads).toBe(2)
})

test('nothing is logged before the start, when definitions may not be registered yet, or while nothing is skipped', async () => {
  const flows = create()
  await flows.claimNext(request)
  skipped = []
  flows.start()
  await flows.claimNext(request)
  expect(lines).toEqual([])
  expect(reads).toBe(0)
})
