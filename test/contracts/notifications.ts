import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { BroadcastTransport, NotificationBus } from '../../src/notifications/notification.ts'
import { createNotificationBus } from '../../src/notifications/notification-bus.ts'
import { until } from '../support/flows.ts'

export interface NotificationsSuite {
  readonly name: string
  /** Called once per test: transports that reach each other. */
  open(): Promise<{
    /** A transport of one more process. */
    transport(): BroadcastTransport
    /** Ends every connection from the side of the server. */
    cutConnections?(): Promise<void>
    close?(): Promise<void>
  }>
}

/** The promises of `NotificationBus` (src/notifications/notification.ts), whatever carries the messages. */
export function describeNotifications({ name, open }: NotificationsSuite): void {
  describe(`notifications over ${name}`, () => {
    let medium: Awaited<ReturnType<NotificationsSuite['open']>>
    let buses: NotificationBus[]

    beforeEach(async () => {
      medium = await open()
      buses = []
    })
    afterEach(async () => {
      await Promise.all(buses.map((bus) => bus.close()))
      await medium.close?.()
    })

    const join = (announceMs = 5_000) => {
      const bus = createNotificationBus({ transport: medium.transport(), id: randomUUID(), announceMs, reconnectMs: 5 })
      buses.push(bus)
      return bus
    }
    /** A connected bus with a list of what it has received under the topic. */
    const joinWith = async (topic: string, announceMs?: number) => {
      const bus = join(announceMs)
      const received: string[] = []
      let gaps = 0
      const unsubscribe = bus.subscribe(topic, { onMessage: (payload) => received.push(payload), onGap: () => void gaps++ })
      await until(() => bus.isConnected())
      return { bus, received, unsubscribe, gaps: () => gaps }
    }

    test('a message reaches every subscriber of its topic in other processes, in order', async () => {
      const [a, b, other] = [await joinWith('x'), await joinWith('x'), await joinWith('y')]
      const sender = join()
      const payloads = Array.from({ length: 300 }, (_, index) => `${index} \u00e9\u{1f600} "quoted" \\ ${'z'.repeat(index)}`)
      for (const payload of payloads) sender.publish('x', payload)
      sender.publish('y', 'last')
      await until(() => other.received.length === 1 && a.received.length === 300 && b.received.length === 300)
      expect(a.received).toEqual(payloads)
      expect(b.received).toEqual(payloads)
      expect(other.received).toEqual(['last'])
    })

    test('a process does not receive its own messages', async () => {
      const [a, b] = [await joinWith('x'), await joinWith('x')]
      a.bus.publish('x', 'of a')
      b.bus.publish('x', 'of b')
      await until(() => a.received.length === 1 && b.received.length === 1)
      expect([a.received, b.received]).toEqual([['of b'], ['of a']])
    })

    test('a subscription that has ended receives nothing more, and others of its topic do', async () => {
      const a = await joinWith('x')
      const second: string[] = []
      a.bus.subscribe('x', { onMessage: (payload) => second.push(payload) })
      const b = await joinWith('x')
      a.unsubscribe()
      a.unsubscribe()
      b.bus.publish('x', 'one')
      await until(() => second.length === 1)
      expect(a.received).toEqual([])
    })

    test('a subscriber that throws does not keep others from their messages', async () => {
      const a = await joinWith('x')
      a.bus.subscribe('x', {
        onMessage: () => {
          throw new Error('broken')
        },
      })
      const late: string[] = []
      a.bus.subscribe('x', { onMessage: (payload) => late.push(payload) })
      const b = join()
      b.publish('x', 'one')
      b.publish('x', 'two')
      await until(() => late.length === 2)
      expect(a.received).toEqual(['one', 'two'])
    })

    test('a process knows the topics that others have subscribed to, from before it joined and from later', async () => {
      const a = await joinWith('early')
      const b = await joinWith('own')
      await until(() => b.bus.hasSubscribersElsewhere('early'))
      expect(b.bus.hasSubscribersElsewhere('late')).toBe(false)
      expect(b.bus.hasSubscribersElsewhere('own')).toBe(false)
      a.bus.subscribe('late', { onMessage: () => undefined })
      await until(() => b.bus.hasSubscribersElsewhere('late'))
    })

    test('topics are announced again as long as they are subscribed to, and forgotten afterwards', async () => {
      const a = await joinWith('x', 50)
      const b = await joinWith('y', 50)
      await until(() => b.bus.hasSubscribersElsewhere('x'))
      a.unsubscribe()
      await until(() => !b.bus.hasSubscribersElsewhere('x'))
    })

    test('topics may have subscribers elsewhere until the others had the time to announce theirs', async () => {
      const bus = join()
      expect(bus.mayHaveSubscribersElsewhere('x')).toBe(true)
      const b = await joinWith('y', 50)
      expect(b.bus.hasSubscribersElsewhere('x')).toBe(false)
      await until(() => !b.bus.mayHaveSubscribersElsewhere('x'))
      await joinWith('x', 50)
      await until(() => b.bus.mayHaveSubscribersElsewhere('x'))
    })

    test('two thousand topics are announced', async () => {
      const a = join()
      const topics = Array.from({ length: 2_000 }, (_, index) => `flow:${index}-${'x'.repeat(30)}`)
      for (const topic of topics) a.subscribe(topic, { onMessage: () => undefined })
      const b = await joinWith('y')
      // In any order: who joins in the middle of the first announcement learns of its end before its beginning.
      await until(() => topics.every((topic) => b.bus.hasSubscribersElsewhere(topic)))
    })

    test('a gap is reported when a process connects, and to the others when one more connects', async () => {
      const a = await joinWith('x')
      await until(() => a.gaps() === 1)
      await joinWith('y')
      await until(() => a.gaps() === 2)
    })

    test('messages that are published right before closing are sent', async () => {
      const a = await joinWith('x')
      const b = join()
      b.publish('x', 'last words')
      await b.close()
      await until(() => a.received.length === 1)
      await b.close()
    })

    test('a message of more than 4,000 bytes is refused', () => {
      const bus = join()
      expect(() => bus.publish('x', '\u00e9'.repeat(2_000))).toThrow(
        'Expected a message of at most 4000 bytes for topic "x", found 4001',
      )
      bus.publish('x', 'e'.repeat(3_999))
    })

    test('a lost connection is opened again, a gap is reported, and messages arrive afterwards', async (context) => {
      if (!medium.cutConnections) return context.skip('nothing to cut between the buses of one process')
      const [a, b] = [await joinWith('x'), await joinWith('x')]
      await until(() => b.bus.hasSubscribersElsewhere('x'))
      const before = { a: a.gaps(), b: b.gaps() }
      await medium.cutConnections()
      await until(() => a.gaps() > before.a && b.gaps() > before.b && a.bus.isConnected() && b.bus.isConnected())
      b.bus.publish('x', 'after')
      await until(() => a.received.includes('after'))
    })
  })
}
