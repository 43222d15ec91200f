import { randomUUID } from 'node:crypto'
import { expect, onTestFinished, test, vi } from 'vitest'
import { createWebhookDelivery } from '../../src/orchestrator/webhooks/webhook-delivery.ts'
import { createMemoryStore } from '../../src/repositories/memory/memory-store.ts'
import { createWebhookSender } from '../../src/webhooks/http-sender.ts'
import { createStoreFixture } from '../contracts/store-fixture.ts'
import { instant, outcome, update } from '../support/stored-data.ts'
import { answerWith, createReceiver, SECRET } from './receiver.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS

/** A store with webhooks for the receivers, and deliveries over it with a clock that a test moves. */
function setUp(...urls: readonly string[]) {
  const store = createMemoryStore()
  const fixture = createStoreFixture(() => store)
  let nowMs = instant(0).getTime()
  const warnings: unknown[] = []
  const webhooks = urls.map((url) => ({ id: randomUUID(), url, events: new Set(['flow_complete' as const]) }))
  const open = () => {
    const delivery = createWebhookDelivery({
      repository: store.webhooks,
      sender: createWebhookSender({ version: '1' }),
      webhooks,
      secretOf: async () => SECRET,
      logger: { warn: (message, facts) => warnings.push({ message, ...facts }) },
      now: () => nowMs,
      random: () => 0.5,
    })
    onTestFinished(() => delivery.close(0))
    return delivery
  }
  return {
    open,
    claimAsDying: (leaseMs: number) =>
      store.webhooks.claim(webhooks[0]?.id ?? '', 10, new Date(nowMs), new Date(nowMs + leaseMs)),
    requeue: () => Promise.all(webhooks.map(({ id }) => store.webhooks.retry(id, new Date(nowMs)))),
    warnings,
    advance: (ms: number) => {
      nowMs += ms
    },
    counts: async (index = 0) => {
      const id = webhooks[index]?.id ?? ''
      return (await store.webhooks.counts([id])).get(id)
    },
    /** Ends `count` flows, each of which every webhook announces. */
    async finishFlows(count: number) {
      for (let flow = 0; flow < count; flow++) {
        const running = await fixture.runningFlow()
        const deliveries = webhooks.map(({ id: webhookId }) => ({
          webhookId,
          seq: 1,
          type: 'flow_complete' as const,
          timestamp: new Date(nowMs),
          facts: { status: 'COMPLETED' },
        }))
        await store.journal.finish({ ...running, updates: [update(1)], outcome: outcome(), deliveries })
      }
    },
  }
}

async function receiverOf(answer?: Parameters<typeof createReceiver>[0]) {
  const receiver = await createReceiver(answer)
  onTestFinished(receiver.close)
  return receiver
}

test('a delivery is repeated under the same id until it succeeds, and never again after that', async () => {
  const receiver = await receiverOf((response, count) => answerWith(count < 3 ? 500 : 204)(response))
  const { open, advance, finishFlows, counts } = setUp(receiver.url)
  const delivery = open()
  await finishFlows(1)
  delivery.start()
  await delivery.idle()
  expect(await counts()).toEqual({ queued: 1, failed: 0, lastProblem: 'HTTP 500' })
  advance(4_999)
  delivery.wakeAll()
  await delivery.idle()
  expect(receiver.received).toHaveLength(1)
  for (const delayMs of [1, 20_000, HOUR_MS, 24 * HOUR_MS]) {
    advance(delayMs)
    delivery.wakeAll()
    await delivery.idle()
  }
  expect(receiver.received).toHaveLength(3)
  expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(1)
  expect(await counts()).toEqual({ queued: 0, failed: 0 })
})

test('a delivery is given up after nearly three days, and sent again when it is queued again', async () => {
  const receiver = await receiverOf(answerWith(500))
  const { requeue, open, advance, finishFlows, counts, warnings } = setUp(receiver.url)
  const delivery = open()
  await finishFlows(1)
  delivery.start()
  await delivery.idle()
  let elapsedMs = 0
  for (; (await counts())?.queued === 1 && elapsedMs < 1_000 * HOUR_MS; elapsedMs += 30 * MINUTE_MS) {
    advance(30 * MINUTE_MS)
    delivery.wakeAll()
    await delivery.idle()
  }
  expect(receiver.received).toHaveLength(13)
  expect(elapsedMs / HOUR_MS).toBeGreaterThan(60)
  expect(elapsedMs / HOUR_MS).toBeLessThan(80)
  expect(warnings).toEqual([expect.objectContaining({ type: 'flow_complete', problem: 'HTTP 500' })])
  expect(JSON.stringify(warnings)).not.toMatch(/hooks|whsec|127\.0\.0\.1/)
  await requeue()
  delivery.wakeAll()
  await delivery.idle()
  expect(receiver.received).toHaveLength(14)
})

test('a delivery whose process died before it was sent is sent by another one after the lease, under the same id', async () => {
  const receiver = await receiverOf()
  const { claimAsDying, open, advance, finishFlows } = setUp(receiver.url)
  await finishFlows(1)
  const [{ flowId } = { flowId: '' }] = await claimAsDying(MINUTE_MS)
  const delivery = open()
  delivery.start()
  await delivery.idle()
  expect(receiver.received).toEqual([])
  advance(MINUTE_MS)
  delivery.wakeAll()
  await delivery.idle()
  expect(receiver.received.map(({ id }) => id)).toEqual([`msg_${flowId.replaceAll('-', '')}_1`])
})

test('a wait that the receiver asks for is respected', async () => {
  const receiver = await receiverOf((response, count) => answerWith(count < 2 ? 429 : 204, { 'retry-after': '600' })(response))
  const { open, advance, finishFlows } = setUp(receiver.url)
  const delivery = open()
  await finishFlows(1)
  delivery.start()
  await delivery.idle()
  for (const delayMs of [599_000, 1_000]) {
    advance(delayMs)
    delivery.wakeAll()
    await delivery.idle()
    expect(receiver.received).toHaveLength(delayMs === 1_000 ? 2 : 1)
  }
})

test('an answer with 410 ends the webhook and fails what is queued', async () => {
  const receiver = await receiverOf(answerWith(410))
  const { open, finishFlows, counts } = setUp(receiver.url)
  const delivery = open()
  await finishFlows(1)
  delivery.start()
  await delivery.idle()
  await finishFlows(3)
  delivery.wakeAll()
  await delivery.idle()
  expect(receiver.received).toHaveLength(1)
  expect(await counts()).toEqual({ queued: 3, failed: 1, lastProblem: 'HTTP 410' })
})

test('a receiver that never answers delays no other one, and its messages are left to another process at the end', async () => {
  const slow = await receiverOf(() => undefined)
  const quick = await receiverOf()
  const { open, finishFlows, counts } = setUp(slow.url, quick.url)
  const delivery = open()
  await finishFlows(50)
  delivery.start()
  await Promise.all([quick.arrived(50), slow.arrived(8)])
  await vi.waitFor(async () => expect(await counts(1)).toEqual({ queued: 0, failed: 0 }))
  await delivery.close(0)
  expect(slow.received).toHaveLength(8)
  expect(await counts(0)).toEqual({ queued: 50, failed: 0 })
  const next = open()
  next.start()
  await slow.arrived(16)
})

test('several deliveries over one outbox send every message once', async () => {
  const receiver = await receiverOf()
  const { open, finishFlows, counts } = setUp(receiver.url)
  await finishFlows(200)
  const deliveries = [open(), open(), open()]
  for (const delivery of deliveries) delivery.start()
  await receiver.arrived(200)
  await Promise.all(deliveries.map((delivery) => delivery.idle()))
  expect(receiver.received).toHaveLength(200)
  expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(200)
  expect(await counts()).toEqual({ queued: 0, failed: 0 })
})

test('a message that is being sent is waited for when the process closes, and its success is recorded', async () => {
  const waiting: (() => void)[] = []
  const receiver = await receiverOf((response) => waiting.push(() => answerWith(200)(response)))
  const { open, finishFlows, counts } = setUp(receiver.url)
  const delivery = open()
  await finishFlows(1)
  delivery.start()
  await receiver.arrived(1)
  const closed = delivery.close()
  for (const answer of waiting) answer()
  await closed
  expect(await counts()).toEqual({ queued: 0, failed: 0 })
})
