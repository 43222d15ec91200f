import { expect, test } from 'vitest'
import { type ClosingDeps, closingSteps, createClose } from '../../src/composition/lifecycle.ts'

/** Everything that is closed, with each call in `calls`; the calls named in `failing` reject. */
function recorded(failing: readonly string[] = []) {
  const calls: string[] = []
  const reasons: unknown[] = []
  const call = async (name: string) => {
    await new Promise(setImmediate)
    calls.push(name)
    if (failing.includes(name)) throw new Error(`${name} failed`)
  }
  const closable = (name: string) => ({ close: () => call(name) })
  const deps: ClosingDeps = {
    schedules: { stop: async () => void calls.push('schedules.stop') },
    ownership: {
      resumption: { stop: () => void calls.push('resumption.stop') },
      stopWatch: () => void calls.push('ownership.stopWatch'),
      unregister: ({ handOver }) => call(handOver ? 'ownership.unregister by hand-over' : 'ownership.unregister'),
    },
    engine: {
      health: async () => {
        calls.push('engine.health')
        return { engine: 'local', running: 0, ok: true }
      },
      drain: ({ handOver }) => void calls.push(handOver ? 'engine.drain by hand-over' : 'engine.drain'),
      close: (reason) => {
        reasons.push(reason)
        return call('engine.close')
      },
    },
    executions: {
      beginClosing: () => void calls.push('executions.beginClosing'),
      stopWaiting: () => void calls.push('executions.stopWaiting'),
    },
    handOver: { begin: () => void calls.push('handOver.begin') },
    providers: closable('providers.close'),
    stopPruning: () => void calls.push('stopPruning'),
    updates: {
      log: closable('updates.log.close'),
      compaction: closable('updates.compaction.close'),
      bus: closable('updates.bus.close'),
    },
    services: closable('services.close'),
    webhooks: closable('webhooks.close'),
    events: closable('events.close'),
    budgets: closable('budgets.close'),
    store: { ...closable('store.close'), expectClose: () => void calls.push('store.expectClose') },
    simulator: closable('simulator.close'),
    tokens: closable('tokens.close'),
    recording: closable('recording.close'),
  }
  return { close: createClose(closingSteps(deps)), calls, reasons }
}

const ORDER = [
  'schedules.stop',
  'resumption.stop',
  'executions.beginClosing',
  'engine.drain',
  'stopPruning',
  'ownership.stopWatch',
  'store.expectClose',
  'engine.close',
  'executions.stopWaiting',
  'services.close',
  'updates.log.close',
  'updates.compaction.close',
  'webhooks.close',
  'events.close',
  'budgets.close',
  'ownership.unregister',
  'updates.bus.close',
  'store.close',
  'providers.close',
  'simulator.close',
  'tokens.close',
  'recording.close',
]

test('closing ends everything in order, each step after the one before it has ended', async () => {
  const { close, calls, reasons } = recorded()
  await close()
  expect(calls).toEqual(ORDER)
  expect(reasons).toMatchObject([{ code: 'FLOW_CANCELLED' }])
})

test('with a grace period closing waits until the engine is idle before anything but new flows ends', async () => {
  const { close, calls } = recorded()
  await close({ graceMs: 1_000 })
  expect(calls.slice(2, 6)).toEqual(['executions.beginClosing', 'engine.drain', 'engine.health', 'stopPruning'])
})

test('with a hand-over running flows are interrupted, not cancelled, and the owner is unregistered for it', async () => {
  const { close, calls, reasons } = recorded()
  await close({ handOver: true })
  expect(reasons).toMatchObject([{ code: 'FLOW_INTERRUPTED' }])
  expect(calls).toContain('ownership.unregister by hand-over')
})

test('a hand-over with a grace period begins no further step, and one without ends calls at once', async () => {
  const { close, calls } = recorded()
  await close({ handOver: true, graceMs: 1_000 })
  expect(calls.slice(0, 6)).toEqual([
    'schedules.stop',
    'resumption.stop',
    'executions.beginClosing',
    'handOver.begin',
    'engine.drain by hand-over',
    'engine.health',
  ])
  const atOnce = recorded()
  await atOnce.close({ handOver: true })
  expect(atOnce.calls).not.toContain('handOver.begin')
})

test('a database that cannot unregister this process keeps nothing after it from being closed', async () => {
  const { close, calls } = recorded(['ownership.unregister'])
  await close()
  expect(calls).toEqual(ORDER)
})

test('a store that fails to close rejects the closing', async () => {
  const { close, calls } = recorded(['store.close'])
  await expect(close()).rejects.toThrow('store.close failed')
  expect(calls.at(-1)).toBe('store.close')
})

test('closing twice closes once, with the same outcome', async () => {
  const { close, calls } = recorded(['store.close'])
  const outcomes = await Promise.allSettled([close(), close({ handOver: true })])
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  expect(calls.filter((name) => name === 'engine.close')).toHaveLength(1)
})
