import { expect, onTestFinished, test, vi } from 'vitest'
import { readAcrossServers } from '../../src/cli/control/follow-events.ts'
import { createServerEvents, type GetFromServer } from '../../src/cli/control/server-events.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { rejection } from '../support/caught.ts'

const event = (seq: number, type = 'order_paid') => ({
  id: `e${seq}`,
  seq,
  type,
  source: 'shop',
  priority: 'normal',
  data: null,
  timestamp: '2026-11-29T12:00:00.000Z',
})
const frame = (seq: number, type?: string) =>
  `${seq === 0 ? '' : `id: ${seq}\n`}event: ${type ?? 'order_paid'}\ndata: ${JSON.stringify(event(seq, type))}\n\n`
const problem = (code: string) => `event: problem\ndata: ${JSON.stringify({ code, detail: 'the reason' })}\n\n`

const notRunning = () => new OrchestratorError('SERVER_NOT_RUNNING', 'no server runs')

/** One server after another: the newest number of its log and what its stream sends, or none. */
type Life = { readonly newest: number; readonly frames: string; readonly breaks?: boolean } | undefined

function follow(lives: readonly Life[], maxFailures?: number) {
  const asked: string[] = []
  const told: string[] = []
  const delays: number[] = []
  const stop = new AbortController()
  let life = -1
  const connect = () => {
    life += 1
    if (life >= lives.length) stop.abort()
    const current = lives[life]
    if (!current) throw notRunning()
    const get: GetFromServer = async (path, { accept }) => {
      asked.push(path)
      if (accept === 'application/json') {
        const afterSeq = Number(new URL(path, 'http://127.0.0.1').searchParams.get('afterSeq'))
        return Response.json({ items: [], lastSeq: Math.min(afterSeq, current.newest) })
      }
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          controller.enqueue(new TextEncoder().encode(current.frames))
          if (!current.breaks) controller.close()
        },
        pull: (controller) => controller.error(new TypeError('terminated')),
      })
      return new Response(body)
    }
    return createServerEvents(get)
  }
  const events = readAcrossServers({
    connect,
    signal: stop.signal,
    onGap: () => told.push('gap'),
    onLost: ({ code }, delayMs) => {
      told.push(code)
      delays.push(delayMs)
    },
    onRejoined: (isSameLog) => told.push(isSameLog ? 'same log' : 'other log'),
    baseDelayMs: 1,
    maxDelayMs: 4,
    ...(maxFailures !== undefined && { maxFailures }),
  })
  const read = async () => {
    const seen: (string | number)[] = []
    for await (const { seq, type } of events) seen.push(seq === 0 ? type : seq)
    return seen
  }
  return { read, asked, told, delays }
}

test('after a lost server the next one is asked for what follows the last event, and no event is given twice', async () => {
  const { read, asked, told } = follow([
    { newest: 7, frames: frame(8) + frame(0, 'flow_start') + frame(9), breaks: true },
    undefined,
    { newest: 12, frames: frame(9) + frame(10) + frame(11) },
    { newest: 12, frames: frame(12) },
  ])
  expect(await read()).toEqual([8, 'flow_start', 9, 10, 11, 12])
  expect(asked).toEqual([
    `/events?afterSeq=${Number.MAX_SAFE_INTEGER}&limit=1`,
    '/events?afterSeq=7',
    '/events?afterSeq=9&limit=1',
    '/events?afterSeq=9',
    '/events?afterSeq=11&limit=1',
    '/events?afterSeq=11',
  ])
  expect(told.slice(0, 5)).toEqual(['SERVER_NOT_RUNNING', 'SERVER_NOT_RUNNING', 'same log', 'SERVER_NOT_RUNNING', 'same log'])
})

test('a server whose log has fewer events is read from the beginning of its log', async () => {
  const { read, told } = follow([
    { newest: 100, frames: frame(101) },
    { newest: 2, frames: frame(1) + frame(2) + frame(3) },
    { newest: 4, frames: frame(4) },
  ])
  expect(await read()).toEqual([101, 1, 2, 3, 4])
  expect(told.filter((text) => text.endsWith('log'))).toEqual(['other log', 'same log'])
})

test('waits grow while no server answers, up to their limit, and then the last error is thrown', async () => {
  const { read, delays } = follow([{ newest: 0, frames: '' }, ...Array.from({ length: 9 }, () => undefined)], 6)
  expect(await rejection(read())).toMatchObject({ code: 'SERVER_NOT_RUNNING', message: 'no server runs' })
  expect(delays).toEqual([1, 2, 4, 4, 4, 4])
})

test('a connection without an event or a heartbeat has failed, however long it lasted, and a sign of life counts from there', async () => {
  let now = 0
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => {
    now += 600_000
    return now
  })
  onTestFinished(() => clock.mockRestore())
  const silent = Array.from({ length: 9 }, () => ({ newest: 0, frames: '' }))
  const hanging = follow(silent, 2)
  expect(await rejection(hanging.read())).toMatchObject({ code: 'SERVER_NOT_RUNNING' })
  expect(hanging.delays).toEqual([1, 2])
  for (const frames of [': ping\n\n', frame(0, 'flow_start')]) {
    const alive = follow([...silent.slice(0, 2), { newest: 0, frames }, ...silent], 2)
    expect(await rejection(alive.read())).toMatchObject({ code: 'SERVER_NOT_RUNNING' })
    expect(alive.delays).toEqual([1, 2, 1, 2])
  }
})

test('an error of the server that waiting cannot mend is thrown, and events may have the types of frames', async () => {
  const { read, told } = follow([
    { newest: 0, frames: frame(1, 'gap') + frame(2, 'problem') + problem('RATE_LIMITED') },
    { newest: 2, frames: `event: gap\ndata: {"from":0,"to":0}\n\n${problem('PERMISSION_DENIED')}` },
  ])
  expect(await rejection(read())).toMatchObject({ code: 'PERMISSION_DENIED', message: 'the reason' })
  expect(told).toEqual(['RATE_LIMITED', 'same log', 'gap'])
  const first = follow([undefined])
  expect(await rejection(first.read())).toMatchObject({ code: 'SERVER_NOT_RUNNING' })
  expect(first.told).toEqual([])
})
