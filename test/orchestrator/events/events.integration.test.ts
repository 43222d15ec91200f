import { afterEach, describe, expect, test } from 'vitest'
import type { PolyphonyConfigInput } from '../../../src/config/config.ts'
import type { PolyphonyEvent } from '../../../src/domain/event.ts'
import type { Polyphony } from '../../../src/polyphony.ts'
import { createScriptedProvider } from '../../../src/providers/scripted.ts'
import { until } from '../../events/memory-bus.ts'
import { openTestPolyphony } from '../../support/polyphony.ts'
import { openTestPostgres } from '../../support/postgres.ts'

const opened: Polyphony[] = []
afterEach(async () => {
  for (const polyphony of opened.splice(0)) await polyphony.close()
})

const open = async (config: PolyphonyConfigInput = {}) => {
  const desk = createScriptedProvider({
    id: 'desk',
    replies: ({ model }) => (model === 'fails' ? new Error('refused') : 'SECRET answer'),
  })
  const polyphony = await openTestPolyphony({ simulator: false, providers: { desk }, ...config })
  opened.push(polyphony)
  return polyphony
}

async function runFlow({ conversations, orchestrator }: Polyphony, userId: string, model = 'any') {
  const { id: threadId } = await conversations.createThread(userId, { title: 'a title' })
  const definition = {
    name: 'draft',
    type: 'sequential' as const,
    steps: [{ id: 'write', model: `desk/${model}`, action: 'generate' as const, prompt: 'SECRET prompt {{ input }}' }],
  }
  const { id: flowId } = await orchestrator.createFlow(threadId, userId, definition)
  await orchestrator.executeFlow(flowId, userId, { input: 'SECRET input' }).catch(() => {})
  return { threadId, flowId }
}

const typesOf = (events: readonly PolyphonyEvent[]) => events.map(({ type }) => type)

describe('updates of flows as events', () => {
  test('a handler gets them with ids and facts, and no prompt or answer', async () => {
    const polyphony = await open()
    const seen: PolyphonyEvent[] = []
    polyphony.events.on({ source: 'flow' }, (event) => seen.push(event))
    const { flowId } = await runFlow(polyphony, 'ada')
    await until(() => typesOf(seen).includes('flow_complete'))
    expect(typesOf(seen)).toEqual(['flow_start', 'step_start', 'step_complete', 'flow_complete'])
    for (const event of seen) {
      expect(event).toMatchObject({ seq: 0, source: 'flow', subject: flowId, correlationId: flowId, userId: 'ada' })
    }
    expect(seen[1]?.data).toMatchObject({ path: 'write', provider: 'desk', model: 'any' })
    expect(JSON.stringify(seen)).not.toContain('SECRET')
  })

  test('a failed flow is an urgent event of its own type', async () => {
    const polyphony = await open()
    const seen: PolyphonyEvent[] = []
    polyphony.events.on({ type: 'flow_error' }, (event) => seen.push(event))
    await runFlow(polyphony, 'ada', 'fails')
    await until(() => seen.length === 1)
    expect(seen[0]).toMatchObject({ priority: 'high', data: { errorCode: expect.any(String) } })
  })

  test('the end of a flow that no process drives is an event, once', async () => {
    const polyphony = await open()
    const seen: PolyphonyEvent[] = []
    polyphony.events.on({ source: 'flow' }, (event) => seen.push(event))
    const { id: threadId } = await polyphony.conversations.createThread('ada', { title: 'a title' })
    const steps = [{ id: 'write', model: 'desk/any', action: 'generate' as const, prompt: '{{ input }}' }]
    const definition = { name: 'draft', type: 'sequential' as const, steps }
    const { id: flowId } = await polyphony.orchestrator.createFlow(threadId, 'ada', definition)
    await polyphony.orchestrator.cancelFlow(flowId, 'ada')
    await until(() => seen.length > 0)
    await runFlow(polyphony, 'ada')
    await until(() => seen.some(({ type }) => type === 'flow_complete'))
    expect(seen.filter(({ subject }) => subject === flowId)).toMatchObject([{ type: 'flow_cancelled', userId: 'ada' }])
  })

  test('without a handler a flow stores and reads no event', async () => {
    const polyphony = await open()
    await runFlow(polyphony, 'ada')
    expect(polyphony.events.recent()).toEqual([])
    expect(await polyphony.events.replay({}, () => {})).toBe(0)
  })

  test('what belongs to one flow is given by time, the events of the log among its updates', async () => {
    const polyphony = await open()
    const { flowId } = await runFlow(polyphony, 'ada')
    const causationId = `${flowId}:1`
    await polyphony.events.publish({
      type: 'order_paid',
      source: 'shop',
      correlationId: flowId,
      causationId,
      data: { amount: 3 },
    })
    await polyphony.events.publish({ type: 'order_sent', source: 'shop', correlationId: 'other', data: null })
    const events = await polyphony.events.correlated(flowId)
    expect(typesOf(events)).toEqual(['flow_start', 'step_start', 'step_complete', 'flow_complete', 'order_paid'])
    expect(events.at(-1)).toMatchObject({ causationId, data: { amount: 3 } })
    expect(events.map(({ timestamp }) => timestamp.getTime())).toEqual(
      events.map(({ timestamp }) => timestamp.getTime()).sort((left, right) => left - right),
    )
  })

  test('a user reads own events and the updates of flows that it may read, and nothing else', async () => {
    const polyphony = await open()
    const { flowId, threadId } = await runFlow(polyphony, 'ada')
    await polyphony.events.publish({ type: 'note', source: 'service', correlationId: flowId, data: null })
    await polyphony.events.publishAs('ada', { type: 'mine', correlationId: flowId, data: null })
    const updates = ['flow_start', 'step_start', 'step_complete', 'flow_complete']
    expect(typesOf(await polyphony.events.correlated(flowId, 'ada'))).toEqual([...updates, 'mine'])
    expect(await polyphony.events.correlated(flowId, 'bob')).toEqual([])
    await polyphony.permissions.grant(threadId, 'ada', 'bob', ['read'])
    expect(typesOf(await polyphony.events.correlated(flowId, 'bob'))).toEqual(updates)
  })

  test('a user who receives events gets those that it may read', async () => {
    const polyphony = await open()
    const seen: Record<string, string[]> = { ada: [], bob: [] }
    const note = (name: string) => (event: PolyphonyEvent) => seen[name]?.push(event.type)
    await polyphony.events.follow({}, 'ada', note('ada'), {})
    const { end } = await polyphony.events.follow({}, 'bob', note('bob'), {})
    await polyphony.events.publish({ type: 'service_state', source: 'service', data: null })
    await runFlow(polyphony, 'ada')
    await polyphony.events.publishAs('bob', { type: 'mine', data: null })
    await until(() => seen.ada?.length === 4 && seen.bob?.length === 1)
    expect(seen.bob).toEqual(['mine'])
    end()
    await polyphony.events.publishAs('bob', { type: 'mine', data: null })
    await polyphony.events.publishAs('ada', { type: 'last', data: null })
    await until(() => seen.ada?.length === 5)
    expect(seen.bob).toEqual(['mine'])
  })
})

describe('replay', () => {
  test('only the given handler gets stored events, in order and marked, one after another', async () => {
    const polyphony = await open()
    const live: PolyphonyEvent[] = []
    polyphony.events.on({}, (event) => live.push(event))
    await Promise.all(
      Array.from({ length: 1_200 }, (_, index) =>
        polyphony.events.publish({
          type: index % 2 ? 'odd' : 'even',
          source: 'test',
          correlationId: `c${index % 3}`,
          data: index,
        }),
      ),
    )
    await until(() => live.length === 1_000 || polyphony.events.stats().waiting === 0)
    const before = live.length
    const seen: PolyphonyEvent[] = []
    let running = 0
    const count = await polyphony.events.replay({ types: ['odd'] }, async (event) => {
      expect(++running).toBe(1)
      seen.push(event)
      // Events that are published meanwhile are left out, otherwise a handler that publishes would never end.
      if (seen.length < 3) await polyphony.events.publish({ type: 'odd', source: 'test', data: 'late' })
      running -= 1
    })
    expect(count).toBe(600)
    expect(seen.every(({ replayed, type }) => replayed && type === 'odd')).toBe(true)
    expect(seen.map(({ data }) => data)).toEqual(Array.from({ length: 600 }, (_, index) => 2 * index + 1))
    await until(() => live.length === before + 2)
    expect(live.some(({ replayed }) => replayed)).toBe(false)
    const after = seen[100]?.seq ?? 0
    expect(await polyphony.events.replay({ afterSeq: after, types: ['odd'], correlationId: 'c0' }, () => {})).toBe(166)
  })

  test('the error of the handler ends it', async () => {
    const { events } = await open()
    for (let count = 0; count < 3; count++) await events.publish({ type: 'a', source: 'test', data: count })
    let calls = 0
    const replay = events.replay({}, () => {
      calls += 1
      throw new Error('stop')
    })
    await expect(replay).rejects.toThrow('stop')
    expect(calls).toBe(1)
  })
})

test('users may not publish what looks like an event of Polyphony, and no publisher updates of flows', async () => {
  const { events } = await open()
  for (const type of ['service_state', 'flow_complete', 'step_start']) {
    await expect(events.publishAs('ada', { type, data: null })).rejects.toMatchObject({ code: 'EVENT_INVALID' })
  }
  await expect(events.publish({ type: 'a', source: 'flow', data: null })).rejects.toMatchObject({ code: 'EVENT_INVALID' })
  expect(await events.publishAs('ada', { type: 'order_paid', data: 1 })).toMatchObject({ source: 'user', userId: 'ada' })
})

test('what was published before Polyphony is closed is stored', async () => {
  const polyphony = await open()
  const publishing = Array.from({ length: 100 }, (_, index) =>
    polyphony.events.publish({ type: 'a', source: 'test', data: index }),
  )
  await polyphony.close()
  expect(await Promise.all(publishing)).toHaveLength(100)
})

describe('two processes over one database', { timeout: 60_000 }, () => {
  test('events and updates of flows of one reach the handlers of the other, in order and once', async () => {
    const { url, drop } = await openTestPostgres()
    try {
      const [one, two] = [await open({ database: url }), await open({ database: url })]
      const seen: PolyphonyEvent[] = []
      two.events.on({}, (event) => seen.push(event))
      const isOfFlow = ({ source }: PolyphonyEvent) => source === 'flow'
      // The second process asks for the newest number, and the first hears of the handler; what is published until then
      // it does not announce, and need not be delivered.
      while (!seen.some(isOfFlow) || !seen.some((event) => !isOfFlow(event))) {
        await one.events.publish({ type: 'early', source: 'test', data: null })
        await runFlow(one, 'bob')
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      const { flowId } = await runFlow(one, 'ada')
      for (let index = 0; index < 20; index++) {
        await Promise.all([one, two].map(({ events }) => events.publish({ type: 'both', source: 'test', data: index })))
      }
      const flowEvents = () => seen.filter(({ subject }) => subject === flowId)
      const logged = () => seen.filter((event) => !isOfFlow(event))
      const firstSeq = logged()[0]?.seq ?? 0
      const lastSeq = await one.events.newestSeq()
      await until(() => flowEvents().length >= 4 && logged().at(-1)?.seq === lastSeq)
      expect(typesOf(flowEvents())).toEqual(['flow_start', 'step_start', 'step_complete', 'flow_complete'])
      expect(flowEvents().every((event) => event.userId === 'ada')).toBe(true)
      expect(logged().map(({ seq }) => seq)).toEqual(
        Array.from({ length: lastSeq - firstSeq + 1 }, (_, index) => firstSeq + index),
      )
      expect(logged().filter(({ type }) => type === 'both')).toHaveLength(40)
    } finally {
      for (const polyphony of opened.splice(0)) await polyphony.close()
      await drop()
    }
  })
})

test('a query of the wrong form finds no events at all', async () => {
  const { events } = await open()
  await events.publish({ type: 'order_paid', source: 'shop', data: null })
  const seen: PolyphonyEvent[] = []
  const handler = (event: PolyphonyEvent) => seen.push(event)
  for (const given of [null, { type: 'other' }, { types: 'order_paid' }, { afterSeq: -1 }, { afterSeq: '1' }, { from: 'x' }]) {
    const replayed: Promise<unknown> = Reflect.apply(events.replay, events, [given, handler])
    await expect(replayed, JSON.stringify(given)).rejects.toMatchObject({ code: 'INPUT_INVALID' })
  }
  await expect(Reflect.apply(events.replay, events, [{}])).rejects.toMatchObject({ code: 'INPUT_INVALID' })
  for (const id of [undefined, null, '']) {
    await expect(Reflect.apply(events.correlated, events, [id])).rejects.toMatchObject({ code: 'INPUT_INVALID' })
  }
  expect(seen).toEqual([])
  expect(await events.replay({ types: ['order_*'] }, handler)).toBe(1)
})
