import { expect, test } from 'vitest'
import { PauseControl } from '../../../src/orchestrator/waiting/pause-control.ts'
import { createMemoryStore } from '../../../src/repositories/memory/memory-store.ts'
import { describePauseWrite } from './pause-write.ts'

describePauseWrite(async () => {
  const store = createMemoryStore()
  return { store, close: () => store.close() }
})

test('an execution that has paused its flow takes no decision and starts no operation', async () => {
  const control = new PauseControl([], { wasPaused: false, activeMs: 0 })
  const wait = {
    flowId: 'flow',
    threadId: 'thread',
    path: 'ok',
    iteration: 1,
    kind: 'approve',
    hash: 'h',
    since: new Date(),
  } as const
  const paused = new Promise((resolve) => control.onPause({ store: () => {}, pause: resolve }))
  void control.during(() => control.waitFor(wait, []))
  expect(await paused).toEqual([wait])
  expect(control.decided({ ...wait, decision: { approved: true }, decidedBy: 'ada', decidedAt: new Date() })).toBe(false)
  await expect(control.during(async () => 'a call')).rejects.toMatchObject({ code: 'FLOW_INTERRUPTED' })
})
