import { expect, test } from 'vitest'
import type { BroadcastTransport, FrameHandlers } from '../../src/notifications/notification.ts'
import { createNotificationBus } from '../../src/notifications/notification-bus.ts'
import { describeNotifications } from '../contracts/notifications.ts'
import { until } from '../support/flows.ts'
import { createMemoryTransport } from '../support/memory-transport.ts'

describeNotifications({
  name: 'memory',
  open: async () => {
    const transport = createMemoryTransport()
    return { transport: () => transport }
  },
})

test('a bus without subscription and message does not connect', async () => {
  let connects = 0
  const transport: BroadcastTransport = {
    maxFrameBytes: 100,
    connect: async () => {
      connects++
      throw new Error('away')
    },
  }
  const bus = createNotificationBus({ transport, id: 'a', reconnectMs: 1 })
  expect(bus.hasSubscribersElsewhere('x')).toBe(false)
  expect(connects).toBe(0)
  bus.subscribe('x', { onMessage: () => undefined })
  await until(() => connects > 3)
  await bus.close()
})

test('a connection that never delivers a frame does not count as connected, and is replaced', async () => {
  const opened: FrameHandlers[] = []
  const transport: BroadcastTransport = {
    maxFrameBytes: 7_900,
    connect: async (handlers) => {
      opened.push(handlers)
      return { send: async () => {}, close: async () => {} }
    },
  }
  const bus = createNotificationBus({ transport, id: 'a', announceMs: 5, reconnectMs: 1 })
  bus.subscribe('x', { onMessage: () => undefined })
  await until(() => opened.length > 2)
  expect(bus.isConnected()).toBe(false)
  await bus.close()
})

test('frames stay below the limit of their transport, and text that is no frame is ignored', async () => {
  const sizes: number[] = []
  let deliver = (_frame: string) => {}
  const transport: BroadcastTransport = {
    maxFrameBytes: 500,
    connect: async ({ onFrame }) => {
      deliver = onFrame
      return {
        send: async (frames) => {
          for (const frame of frames) sizes.push(Buffer.byteLength(frame))
          for (const frame of frames) onFrame(frame)
        },
        close: async () => {},
      }
    },
  }
  const bus = createNotificationBus({ transport, id: 'a' })
  const received: string[] = []
  bus.subscribe('x', { onMessage: (payload) => received.push(payload) })
  for (let index = 0; index < 50; index++) bus.subscribe(`topic ${index}`, { onMessage: () => undefined })
  for (let index = 0; index < 50; index++) bus.publish('x', '\u00e9'.repeat(index))
  await until(() => bus.isConnected())
  expect(Math.max(...sizes)).toBeLessThanOrEqual(500)
  expect(sizes.length).toBeGreaterThan(5)
  for (const text of ['', 'null', '[]', '["b"]', '["b",[["x"]],[],0]', '["b",[["x",1]],[],0]', '{"sender":"b"}']) deliver(text)
  deliver('["b",[["x","hello"]],["y"],0]')
  expect(received).toEqual(['hello'])
  expect(bus.hasSubscribersElsewhere('y')).toBe(true)
  await bus.close()
})
