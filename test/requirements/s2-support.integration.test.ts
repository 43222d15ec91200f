// Configuration, events, cache, health and metrics of the orchestrator of agents (REQUIREMENTS section 2).
//
// S2-01: every field is optional, and a wrong one is named with what was expected and found
// S2-02: start opens what stop releases, and both may be called twice
// S2-03: the watcher checks in its interval and reports changes as events
// S2-04: metrics are sampled in their interval, unless telemetry is off
// S2-08: values live as long as ttl says
// S2-09: the cache evicts by its strategy
// S2-11: metrics are sampled in their interval, unless telemetry is off
// S2-12: every field is optional, and a wrong one is named with what was expected and found
// S2-13: the watcher checks in its interval and reports changes as events
// S2-14: metrics count what ended in the last minute
// S2-15: metrics count what ended in the last minute
// S2-16: the watcher checks in its interval and reports changes as events
// S2-17: a handler gets the events of its type, of a prefix, or all
// S2-18: handlers of higher priority are called first
// S2-19: correlated events are known as soon as they are created
// S2-20: events are aggregated to batches
// S2-21: events are replayed to one handler
// S2-22: events go to the log of a Polyphony and come from its other components
// S2-25: events go to the log of a Polyphony and come from its other components
// S2-31: a memoized function runs once for equal arguments, also at the same time, and errors are not kept
// S2-32: a memoized function runs once for equal arguments, also at the same time, and errors are not kept
// S2-33: a memoized function runs once for equal arguments, also at the same time, and errors are not kept
// S2-34: the cache evicts by its strategy
// S2-35: the cache evicts by its strategy
// S2-36: the cache evicts by its strategy
// S2-47: values live as long as ttl says
// S2-48: values live as long as ttl says
// S2-49: a memoized function runs once for equal arguments, also at the same time, and errors are not kept
// S2-50: a handler gets the events of its type, of a prefix, or all
// S2-51: a workflow tells its steps and its outcome as events
// S2-52: a workflow tells its steps and its outcome as events
// S2-53: correlated events are known as soon as they are created
// S2-54: correlated events are known as soon as they are created
// S2-55: the watcher checks in its interval and reports changes as events
// S2-57: a memoized function runs once for equal arguments, also at the same time, and errors are not kept
// S2-58: metrics count what ended in the last minute
// S2-66: the package says which version of Node.js it needs
// S2-71: a thousand calls over a hundred prompts are served from the cache in at least eight of ten cases
// S2-73: a workflow tells its steps and its outcome as events

import { readFileSync } from 'node:fs'
import { createPolyphony, Orchestrator, type OrchestratorConfig, OrchestratorError } from 'polyphony'
import { expect, onTestFinished, test } from 'vitest'
import { caught } from '../support/caught.ts'
import { until } from '../support/flows.ts'
import { agent, openOrchestrator } from '../support/orchestrators.ts'

const workflow = (prompt = 'do it') => ({ id: 'w', name: 'W', steps: [{ id: 's', type: 'execution', prompt }] })

test('every field is optional, and a wrong one is named with what was expected and found', () => {
  expect(() => new Orchestrator()).not.toThrow()
  const config: unknown = {
    ...{ healthCheckInterval: 'often', maxConcurrentWorkflows: 0, loadBalancingStrategy: 'robin', logLevel: 'loud' },
    ...{ cacheConfig: { strategy: 'mru' }, retryPolicy: { backoff: 'none' }, workflowTimeOut: 1 },
  }
  const build = () => Reflect.construct(Orchestrator, [config])
  expect(caught(build)).toMatchObject({ code: 'CONFIG_INVALID' })
  const words = String(caught(build))
  for (const field of ['healthCheckInterval', 'maxConcurrentWorkflows', 'loadBalancingStrategy', 'logLevel'])
    expect(words).toContain(`${field}: `)
  expect(words).toMatch(/cacheConfig\.strategy: expected .*lru.*found "mru"/)
  expect(words).toContain('retryPolicy.backoff: ')
  expect(words).toMatch(/workflowTimeOut: unknown key; did you mean "workflowTimeout"\?/)
})

test('start opens what stop releases, and both may be called twice', async () => {
  const orchestrator = new Orchestrator({ polyphony: { database: 'memory://', simulator: true } })
  await Promise.all([orchestrator.start(), orchestrator.start()])
  expect((await orchestrator.executeWorkflow(workflow())).status).toBe('completed')
  await Promise.all([orchestrator.stop(), orchestrator.stop()])
  expect(orchestrator.getStats()).toMatchObject({ systemHealth: 'unknown', uptime: 0 })
  await orchestrator.start()
  expect((await orchestrator.executeWorkflow(workflow())).status).toBe('completed')
  await orchestrator.stop()
})

test('the watcher checks in its interval and reports changes as events', async () => {
  let isBroken = true
  const broken = () => (isBroken ? new OrchestratorError('PROVIDER_REJECTED', 'no') : 'x')
  const orchestrator = await openOrchestrator({ alpha: broken }, { healthCheckInterval: 5 })
  await orchestrator.registerAgent(agent('a'))
  expect(orchestrator.getStats().systemHealth).toBe('healthy')
  const changes: unknown[] = []
  const handler = (event: { readonly data: unknown }) => void changes.push(event.data)
  orchestrator.getEventDispatcher().registerHandler({ type: 'health:changed', handler })
  await orchestrator.executeWorkflow(workflow())
  await until(() => changes.length === 1)
  expect(changes[0]).toMatchObject({
    status: 'unhealthy',
    previous: 'healthy',
    components: { workflows: { status: 'unhealthy' } },
  })
  isBroken = false
  for (let index = 0; index < 11; index++) await orchestrator.executeWorkflow(workflow())
  await until(() => changes.length > 1 && orchestrator.getStats().systemHealth === 'healthy')
  expect(await orchestrator.getHealth()).toMatchObject({
    status: 'healthy',
    components: { engine: { status: 'healthy' }, agents: { status: 'healthy' }, workflows: { status: 'healthy' } },
  })
})

test('metrics are sampled in their interval, unless telemetry is off', async () => {
  const orchestrator = await openOrchestrator({ alpha: () => 'x' }, { metricsCollectionInterval: 2 })
  await until(() => orchestrator.getMetricsHistory().length > 2)
  const without = await openOrchestrator({ alpha: () => 'x' }, { metricsCollectionInterval: 2, enableTelemetry: false })
  const before = orchestrator.getMetricsHistory().length
  await until(() => orchestrator.getMetricsHistory().length > before + 2)
  expect(without.getMetricsHistory()).toEqual([])
})

test('metrics count what ended in the last minute', async () => {
  const orchestrator = await openOrchestrator({
    alpha: ({ model }) => (model === 'bad' ? new OrchestratorError('PROVIDER_REJECTED', 'no') : 'x'),
  })
  await orchestrator.registerAgent(agent('good'))
  expect(await orchestrator.getSystemMetrics()).toMatchObject({ responseTime: 0, throughput: 0, errorRate: 0 })
  for (let index = 0; index < 3; index++) await orchestrator.executeWorkflow(workflow())
  await orchestrator.unregisterAgent('good')
  await orchestrator.registerAgent(agent('bad'))
  await orchestrator.executeWorkflow(workflow())
  const metrics = await orchestrator.getSystemMetrics()
  expect(metrics).toMatchObject({ throughput: 4, errorRate: 0.25, timestamp: expect.any(Date) })
  expect(metrics.memoryUsage).toBeGreaterThan(10)
  expect(metrics.cpuUsage).toBeGreaterThanOrEqual(0)
  expect(orchestrator.getStats().workflows).toMatchObject({ completed: 3, failed: 1, total: 4 })
})

test('a workflow tells its steps and its outcome as events', async () => {
  let isBroken = false
  const orchestrator = await openOrchestrator({
    alpha: () => (isBroken ? new OrchestratorError('PROVIDER_REJECTED', 'no') : 'words'),
  })
  await orchestrator.registerAgent(agent('a'))
  const seen: (readonly [string, unknown])[] = []
  // The log of a Polyphony gives updates of flows as well, which have types of their own.
  for (const kind of ['workflow:*', 'step:*']) {
    orchestrator.getEventDispatcher().registerHandler({ type: kind, handler: ({ type, data }) => void seen.push([type, data]) })
  }
  const { id } = await orchestrator.executeWorkflow(workflow(), { a: 1 })
  const about = { executionId: id, workflowId: 'w' }
  expect(seen).toMatchObject([
    ['workflow:started', { ...about, name: 'W', input: { a: 1 } }],
    ['step:started', { ...about, stepId: 's', type: 'execution', agentId: 'a' }],
    ['step:completed', { ...about, stepId: 's', output: 'words' }],
    ['workflow:completed', { ...about, status: 'completed', completedSteps: ['s'], results: { s: 'words' } }],
  ])
  isBroken = true
  await orchestrator.executeWorkflow(workflow())
  expect(seen.slice(4).map(([type]) => type)).toEqual(['workflow:started', 'step:started', 'step:failed', 'workflow:failed'])
  expect(seen.at(-1)?.[1]).toMatchObject({ failedSteps: ['s'], error: { code: 'PROVIDER_REJECTED' } })
})

test('a handler gets the events of its type, of a prefix, or all', async () => {
  const events = new Orchestrator().getEventDispatcher()
  const seen: string[] = []
  const listen = (type: string) =>
    events.registerHandler({ type, handler: async (event) => void seen.push(`${type} ${event.type}`) })
  const remove = listen('order:paid')
  listen('order:*')
  listen('*')
  events.registerHandler({
    type: '*',
    handler: () => {
      throw new Error('a handler that fails')
    },
  })
  await events.createEvent('order:paid', 'shop', {})
  await events.createEvent('other', 'shop')
  remove()
  await events.createEvent('order:paid', 'shop')
  await until(() => events.stats().handlerErrors === 3)
  expect(seen.toSorted()).toEqual(
    ['* order:paid', '* order:paid', '* other', 'order:* order:paid', 'order:* order:paid', 'order:paid order:paid'].toSorted(),
  )
  expect(caught(() => events.registerHandler({ type: '', handler: () => 1 }))).toMatchObject({ code: 'CONFIG_INVALID' })
})

test('handlers of higher priority are called first', async () => {
  const events = new Orchestrator().getEventDispatcher()
  const order: string[] = []
  for (const priority of ['low', 'critical', 'normal', 'high'] as const) {
    events.registerHandler({ type: 'x', priority, handler: () => void order.push(priority) })
  }
  expect((await events.createEvent('x', 'test', 1, { priority: 'high' })).priority).toBe('high')
  expect(order).toEqual(['critical', 'high', 'normal', 'low'])
})

test('correlated events are known as soon as they are created', async () => {
  const events = new Orchestrator().getEventDispatcher()
  await events.createEvent('a', 'test', { n: 1 }, { correlationId: 'one' })
  const cause = await events.createEvent('b', 'test', { n: 2 }, { correlationId: 'two' })
  await events.createEvent('c', 'test', { n: 3 }, { correlationId: 'one', causationId: cause.id })
  expect(events.getCorrelatedEvents('one')).toMatchObject([
    { type: 'a', data: { n: 1 } },
    { type: 'c', causationId: cause.id },
  ])
  expect(events.getCorrelatedEvents('three')).toEqual([])
})

test('correlated events include those of the shared log of an open Polyphony, by time and once', async () => {
  const polyphony = await createPolyphony({ database: 'memory://', simulator: true, logLevel: 'silent' })
  onTestFinished(() => polyphony.close())
  const orchestrator = new Orchestrator({ polyphony })
  await orchestrator.start()
  const events = orchestrator.getEventDispatcher()
  const publish = (type: string, correlationId: string) =>
    polyphony.events.publish({ type, source: 'shop', correlationId, data: null })
  await publish('order_paid', 'one')
  await events.createEvent('a', 'test', { n: 1 }, { correlationId: 'one' })
  await publish('order_sent', 'one')
  await publish('order_sent', 'two')
  expect(events.getCorrelatedEvents('one').map(({ type }) => type)).toEqual(
    polyphony.events.recent({ correlationId: 'one' }).map(({ type }) => type),
  )
  expect(
    events
      .getCorrelatedEvents('one')
      .map(({ type }) => type)
      .toSorted(),
  ).toEqual(['a', 'order_paid', 'order_sent'])
  await orchestrator.stop()
  expect(events.getCorrelatedEvents('two')).toEqual([])
})

test('events are aggregated to batches', async () => {
  const events = new Orchestrator().getEventDispatcher()
  const batches: number[] = []
  const end = events.aggregate('x', { windowMs: 20, maxSize: 3 }, (batch) => void batches.push(batch.length))
  for (let index = 0; index < 4; index++) await events.createEvent('x', 'test', index)
  await until(() => batches.length === 2)
  expect(batches).toEqual([3, 1])
  end()
  expect(events.stats().handlers).toBe(0)
})

test('events are replayed to one handler', async () => {
  const events = new Orchestrator().getEventDispatcher()
  const others: unknown[] = []
  for (const n of [1, 2]) await events.createEvent('x', 'test', n, { correlationId: 'one' })
  events.registerHandler({ type: '*', handler: (event) => others.push(event) })
  const seen: unknown[] = []
  expect(await events.replay('one', ({ data, replayed }) => seen.push([data, replayed]))).toBe(2)
  expect([seen, others]).toEqual([
    [
      [1, true],
      [2, true],
    ],
    [],
  ])
})

test('events go to the log of a Polyphony and come from its other components', async () => {
  const polyphony = await createPolyphony({ database: 'memory://', simulator: true, logLevel: 'silent' })
  onTestFinished(() => polyphony.close())
  const handlers: ((event: unknown) => unknown)[] = []
  const stored: { readonly type: string; readonly data: unknown }[] = []
  const events = {
    async publish(event: { readonly type: string; readonly source: string; readonly data: unknown }) {
      stored.push(event)
      const published = {
        ...event,
        id: `e${stored.length}`,
        seq: stored.length,
        priority: 'normal' as const,
        timestamp: new Date(),
      }
      for (const handler of handlers) void handler(published)
      return published
    },
    on: (_filter: object, handler: (event: never) => unknown) => {
      handlers.push((event) => Reflect.apply(handler, undefined, [event]))
      return () => void handlers.pop()
    },
  }
  const orchestrator = new Orchestrator({ polyphony: { ...polyphony, events } })
  await orchestrator.start()
  const seen: string[] = []
  orchestrator.getEventDispatcher().registerHandler({ type: '*', handler: ({ type }) => void seen.push(type) })
  await orchestrator.executeWorkflow(workflow('a secret'), { secret: 'of a user' })
  await events.publish({ type: 'service_state', source: 'service', data: {} })
  await until(() => seen.includes('service_state'))
  expect(seen).toEqual(['workflow:started', 'step:started', 'step:completed', 'workflow:completed', 'service_state'])
  expect(stored.map(({ type }) => type)).toEqual(expect.arrayContaining(['workflow:started', 'workflow:completed']))
  expect(JSON.stringify(stored)).not.toMatch(/secret|Simulated text/)
  await orchestrator.stop()
  expect(handlers).toEqual([])
})

test('values live as long as ttl says', async () => {
  const cache = new Orchestrator({ cacheConfig: { ttl: 60_000 } }).getCache()
  cache.set('a', { n: 1 })
  cache.set('short', 1, { ttl: 1 })
  cache.set('a', 2, { namespace: 'other' })
  await until(() => cache.get('short') === undefined)
  expect([cache.get('a'), cache.get('a', 'other'), cache.get('b')]).toEqual([{ n: 1 }, 2, undefined])
  cache.set('user:1', 1)
  cache.set('user:2', 2)
  expect([cache.invalidatePattern('user:*'), cache.invalidatePattern(/^a$/g, 'other')]).toEqual([2, 1])
  expect([cache.get('user:1'), cache.get('a', 'other'), cache.delete('a'), cache.delete('a')]).toEqual([
    undefined,
    undefined,
    true,
    false,
  ])
  cache.set('c', 1)
  cache.clear()
  expect(cache.get('c')).toBeUndefined()
})

test('the cache evicts by its strategy', () => {
  const left = (strategy: NonNullable<OrchestratorConfig['cacheConfig']>['strategy']) => {
    const cache = new Orchestrator({ cacheConfig: { strategy, maxEntries: 3 } }).getCache()
    for (const key of ['a', 'b', 'c']) cache.set(key, key)
    for (const key of ['a', 'a', 'b', 'b', 'c']) cache.get(key)
    cache.get('a')
    cache.set('d', 'd')
    return ['a', 'b', 'c', 'd'].filter((key) => cache.get(key) !== undefined).join('')
  }
  expect({ lru: left('lru'), lfu: left('lfu'), fifo: left('fifo') }).toEqual({ lru: 'acd', lfu: 'abd', fifo: 'bcd' })
})

test('a memoized function runs once for equal arguments, also at the same time, and errors are not kept', async () => {
  const orchestrator = new Orchestrator()
  const cache = orchestrator.getCache()
  let runs = 0
  const query = cache.memoize(async (table: string, page: { readonly size: number }) => `${table} ${page.size} ${++runs}`, {
    namespace: 'queries',
  })
  const both = await Promise.all([query('users', { size: 1 }), query('users', { size: 1 })])
  expect([...both, await query('users', { size: 1 }), await query('users', { size: 2 })]).toEqual([
    'users 1 1',
    'users 1 1',
    'users 1 1',
    'users 2 2',
  ])
  expect(orchestrator.getStats().cache.hitRate).toBeGreaterThan(0)
  let failures = 0
  const fails = cache.memoize(() => Promise.reject(new Error(`failure ${++failures}`)))
  await expect(fails()).rejects.toThrow('failure 1')
  await expect(fails()).rejects.toThrow('failure 2')
  expect(cache.invalidatePattern('*', 'queries')).toBe(2)
  expect(await query('users', { size: 1 })).toBe('users 1 3')
})

test('a thousand calls over a hundred prompts are served from the cache in at least eight of ten cases', async () => {
  let calls = 0
  const orchestrator = await openOrchestrator({ alpha: () => `answer ${++calls}` })
  await orchestrator.registerAgent(agent('a'))
  const ask = orchestrator
    .getCache()
    .memoize(async (prompt: string) => (await orchestrator.executeWorkflow(workflow(prompt))).results.s, {
      namespace: 'answers',
    })
  for (let index = 0; index < 1_000; index++) await ask(`prompt ${index % 100}`)
  expect(calls).toBe(100)
  expect(orchestrator.getStats().cache.hitRate).toBeGreaterThanOrEqual(0.8)
})

test('the package says which version of Node.js it needs', () => {
  const { engines } = JSON.parse(readFileSync('package.json', 'utf8'))
  expect(engines.node).toMatch(/^\^20\.19/)
})
