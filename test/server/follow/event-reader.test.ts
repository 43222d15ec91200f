import { expect, test } from 'vitest'
import type { PolyphonyEvent } from '../../../src/domain/event.ts'
import { openEventReader } from '../../../src/server/streaming/event-reader.ts'

const event = (seq: number): PolyphonyEvent => ({
  ...{ id: `e${seq}`, seq, type: 'order_paid', source: 'user', priority: 'normal', data: null },
  timestamp: new Date(0),
})

test('stored events are read only when the events of other processes are heard, so that none is between the two', async () => {
  const log = [event(1), event(2)]
  const events = {
    /** Another process stores an event just before the handlers of this one hear of the next. */
    ready: async () => void log.push(event(3)),
    newestSeq: async () => log.length,
    list: async ({ afterSeq = 0 }) => log.slice(afterSeq),
    follow: async () => ({ end: () => {}, isAllowed: async () => true }),
  }
  const sent: number[] = []
  await new Promise<void>((resolve) => {
    const send = ({ seq }: PolyphonyEvent) => {
      if (sent.push(seq) === 2) resolve()
    }
    const sink = { isFull: () => false, send, gap: () => {} }
    void openEventReader(events, { caller: { userId: 'ada', scopes: ['read'], via: 'local' }, filter: {}, afterSeq: 1, sink })
  })
  expect(sent).toEqual([2, 3])
})
