import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { afterEach, expect, onTestFinished, test, vi } from 'vitest'
import { startAttendedInterval } from '../../src/async/attended-time.ts'
import { listenOnLoopback } from '../support/loopback.ts'

afterEach(() => void vi.useRealTimers())

async function connectedPair(): Promise<readonly [Socket, Socket]> {
  const server = createServer()
  const port = await listenOnLoopback(server)
  const client = connect({ host: '127.0.0.1', port })
  const [[accepted]] = await Promise.all([once(server, 'connection'), once(client, 'connect')])
  onTestFinished(() => {
    client.destroy()
    accepted.destroy()
    server.close()
  })
  return [client, accepted]
}

test('data that arrived while the process was late is read before the interval is over', async () => {
  const [writer, reader] = await connectedPair()
  const order: string[] = []
  reader.on('data', () => order.push('data'))
  await new Promise<void>((resolve) => {
    const stop = startAttendedInterval(20, () => {
      order.push('over')
      stop()
      resolve()
    })
    writer.write('x')
    // The event loop stands still for much longer than the interval.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200)
  })
  expect(order).toEqual(['data', 'over'])
})

test.each([1, 3, 400, 30_000])('an interval of %d ms runs at that pace until it is stopped', async (everyMs) => {
  vi.useFakeTimers()
  const run = vi.fn()
  const stop = startAttendedInterval(everyMs, run)
  await vi.advanceTimersByTimeAsync(everyMs - 1)
  expect(run).not.toHaveBeenCalled()
  await vi.advanceTimersByTimeAsync(1 + 9 * everyMs)
  expect(run).toHaveBeenCalledTimes(10)
  stop()
  run.mockClear()
  await vi.advanceTimersByTimeAsync(everyMs * 40)
  expect(run).not.toHaveBeenCalled()
})
