import { expect, test } from 'vitest'
import type { NotificationBus } from '../../src/notifications/notification.ts'
import { createNotificationBus } from '../../src/notifications/notification-bus.ts'
import { createMemoryEvents } from '../../src/repositories/memory/background/events.ts'
import { createMemoryTransport } from '../support/memory-transport.ts'
import { createMemoryBus, until } from './memory-bus.ts'

/** Buses of several processes over one log. */
function createFleet() {
  const log = createMemoryEvents({ maxEvents: 100_000 })
  const transport = createMemoryTransport()
  let reads = 0
  const countedLog = {
    ...log,
    read: (...args: Parameters<typeof log.read>) => {
      reads += 1
      return log.read(...args)
    },
  }
  const join = (id: string) => {
    const messages = createNotificationBus({ transport, id })
    return { messages, ...createMemoryBus({ log: countedLog, messages }) }
  }
  return { log, join, reads: () => reads }
}

/** A process that has run a flow is connected, because it subscribes to what other processes ask of it. */
async function hearsOf({ messages }: { readonly messages: NotificationBus }): Promise<void> {
  messages.subscribe('ownership', { onMessage: () => {} })
  await until(() => messages.hasSubscribersElsewhere('events'))
}

const event = (type: string) => ({ type, source: 'test', data: null })

test('an event of one process reaches the handlers of another, in order and once', async () => {
  const { join } = createFleet()
  const [one, two] = [join('one'), join('two')]
  const seen: number[] = []
  two.bus.on({}, ({ seq }) => seen.push(seq))
  await hearsOf(one)
  for (let round = 0; round < 50; round++) {
    await Promise.all([one.bus.publish(event('one')), two.bus.publish(event('two')), one.bus.publish(event('one'))])
  }
  await until(() => seen.length >= 150)
  expect(seen).toEqual(Array.from({ length: 150 }, (_, index) => index + 1))
  await Promise.all([one.messages.close(), two.messages.close()])
})

test('an event of a process that does nothing but publish reaches the handlers of another at once', async () => {
  const { join } = createFleet()
  const [one, two] = [join('one'), join('two')]
  const seen: string[] = []
  two.bus.on({}, ({ type }) => seen.push(type))
  await two.bus.ready()
  // Reading again a second after the start finds the first one at any rate, and not the second.
  for (const type of ['first', 'second']) {
    await one.bus.publish(event(type))
    await until(() => seen.includes(type))
  }
  expect(seen).toEqual(['first', 'second'])
  await Promise.all([one.messages.close(), two.messages.close()])
})

test('events whose messages were lost are delivered with the next one', async () => {
  const { log, join } = createFleet()
  const [one, two] = [join('one'), join('two')]
  const seen: string[] = []
  two.bus.on({}, ({ type }) => seen.push(type))
  await hearsOf(one)
  await one.bus.publish(event('first'))
  await until(() => seen.length === 1)
  const stored = { ...event('lost'), id: crypto.randomUUID(), priority: 'normal' as const, timestamp: new Date() }
  await log.append([stored])
  await one.bus.publish(event('next'))
  await until(() => seen.length === 3)
  expect(seen).toEqual(['first', 'lost', 'next'])
  await Promise.all([one.messages.close(), two.messages.close()])
})

test('a process without handlers reads nothing and sends nothing that is not expected', async () => {
  const { join, reads } = createFleet()
  const [one, two] = [join('one'), join('two')]
  await one.bus.publish(event('a'))
  await two.bus.publish(event('b'))
  expect(reads()).toBe(0)
  expect([one.messages.isConnected(), two.messages.isConnected()]).toEqual([false, false])
  const seen: string[] = []
  const end = two.bus.on({}, ({ type }) => seen.push(type))
  await two.bus.publish(event('c'))
  await until(() => seen.length === 1)
  end()
  const before = reads()
  await one.bus.publish(event('d'))
  expect(reads()).toBe(before)
  expect(seen).toEqual(['c'])
  await Promise.all([one.messages.close(), two.messages.close()])
})
