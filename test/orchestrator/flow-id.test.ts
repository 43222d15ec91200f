import { expect, test } from 'vitest'
import { createFlowId } from '../../src/orchestrator/flows/flow-id.ts'

test('ids are UUIDs of version 7 that sort by creation time', () => {
  const ids = [1, 1_700_000_000_000, 1_763_596_800_000, 2 ** 47].map((nowMs) => createFlowId(nowMs))
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  expect([...ids].sort()).toEqual(ids)
  expect(createFlowId(5)).not.toBe(createFlowId(5))
})
