import { expect, test } from 'vitest'
import { createEventDispatcher } from '../../../src/facades/orchestrator/events/event-dispatcher.ts'
import { createLocalEvents } from '../../../src/facades/orchestrator/events/local-events.ts'

const MEGABYTE = 1_000_000
/** Text that takes two bytes a character in memory. */
const textOf = (bytes: number) => 'x'.repeat(bytes / 2)
const open = () => createEventDispatcher(createLocalEvents({ now: () => 1_000 }), 'local')

test('events that are found again take at most 50 MB of memory, the newest ones stay, and none is delivered twice', async () => {
  const dispatcher = open()
  const seen: unknown[] = []
  dispatcher.registerHandler({ type: '*', handler: ({ subject, id }) => seen.push(subject ?? id) })
  const published: string[] = []
  for (let count = 0; count < 100; count++) {
    const { id } = await dispatcher.createEvent('answer', 'test', { text: textOf(MEGABYTE) }, { correlationId: 'one' })
    published.push(id)
  }
  const kept = dispatcher.getCorrelatedEvents('one').map(({ id }) => id)
  expect(kept.length).toBeGreaterThan(40)
  expect(kept.length).toBeLessThanOrEqual(50)
  expect(kept).toEqual(published.slice(-kept.length))
  expect(seen).toEqual(published)
  expect(dispatcher.stats()).toMatchObject({ published: 100, dropped: 0 })
})

test('events that wait for a slow handler take at most 20 MB of memory; the oldest are dropped and counted', async () => {
  const dispatcher = open()
  const seen: number[] = []
  let release = () => {}
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  const handled = new Promise<void>((resolve) => {
    dispatcher.registerHandler({
      type: '*',
      async handler({ seq }) {
        seen.push(seq)
        await released
        if (seq === 101) resolve()
      },
    })
  })
  for (let count = 0; count < 100; count++) await dispatcher.createEvent('answer', 'test', textOf(MEGABYTE))
  const { dropped } = dispatcher.stats()
  expect(dropped).toBeGreaterThanOrEqual(79)
  expect(dropped).toBeLessThan(90)
  release()
  // One event may always wait, however large it is.
  await dispatcher.createEvent('answer', 'test', textOf(40 * MEGABYTE))
  await handled
  expect(seen[0]).toBe(1)
  expect(seen.at(-1)).toBe(101)
})

test('an event whose data contains itself or bytes is kept and delivered', async () => {
  const dispatcher = open()
  const data: Record<string, unknown> = { bytes: new Uint8Array(MEGABYTE) }
  data.itself = data
  const event = await dispatcher.createEvent('local', 'test', data, { correlationId: 'one' })
  expect(dispatcher.getCorrelatedEvents('one')).toEqual([event])
})

test('a handler or a batch that cannot work is refused', () => {
  const dispatcher = open()
  const { registerHandler, aggregate } = dispatcher
  const refused = (run: (...given: never[]) => unknown, ...given: unknown[]) =>
    expect(() => Reflect.apply(run, dispatcher, given)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
  for (const registration of [null, undefined, 'x', {}, { type: 'x' }, { type: 5, handler() {} }])
    refused(registerHandler, registration)
  for (const windowMs of [0, Number.NaN, 2_147_483_648]) refused(aggregate, 'x', { windowMs, maxSize: 1 }, () => undefined)
  for (const maxSize of [0, Number.NaN, undefined]) refused(aggregate, 'x', { windowMs: 1, maxSize }, () => undefined)
  refused(aggregate, 'x', { windowMs: 1, maxSize: 1 }, 5)
  expect(dispatcher.stats().handlers).toBe(0)
})
