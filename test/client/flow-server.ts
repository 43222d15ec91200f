import type { ServerResponse } from 'node:http'
import { answers, type Play, type SeenRequest } from './scripted-server.ts'

export interface SentUpdate {
  readonly seq: number
  readonly flowId: string
  readonly type: string
  readonly timestamp: string
  readonly data: unknown
}

/** Updates with these texts, numbered from 1. */
export const updatesOf = (texts: readonly string[]): readonly SentUpdate[] =>
  texts.map((delta, index) => ({
    seq: index + 1,
    flowId: 'f',
    type: 'step_progress',
    stepId: 's',
    timestamp: '2026-11-20T06:00:00.000Z',
    data: { delta },
  }))

export const endOf = (updates: readonly SentUpdate[]) => ({ flowId: 'f', status: 'COMPLETED', lastSeq: updates.length })

/** How one connection goes. */
export interface Fate {
  /** Updates before the asked place that are sent again. */
  readonly overlap?: number
  /** Bytes after which it ends; absent: the whole, with `end`. */
  readonly bytes?: number
  /** Ends in the middle of the update of this number. */
  readonly within?: number
  /** Where it ends early: by a reset, by an ordinary end, or not at all. */
  readonly how?: 'drop' | 'close' | 'stall'
  /** ConnectionLimiter at which the bytes are cut into packets. */
  readonly cuts?: readonly number[]
  readonly lineEnd?: string
}

/** Where a request wants to go on. */
export const placeOf = ({ headers, path }: SeenRequest): number =>
  Number(headers['last-event-id'] ?? new URL(path, 'http://localhost').searchParams.get('afterSeq'))

/** The updates after the place that is asked for, as server-sent events. */
export const stream =
  (updates: readonly SentUpdate[], { overlap = 0, bytes, within, how = 'drop', cuts = [], lineEnd = '\n' }: Fate = {}): Play =>
  async (response, request) => {
    const due = updates.filter(({ seq }) => seq > placeOf(request) - overlap)
    const events = due.flatMap((update) => [
      `: ping`,
      '',
      `id: ${update.seq}`,
      `event: ${update.type}`,
      `data: ${JSON.stringify(update)}`,
      '',
    ])
    const lines = ['retry: 1000', '', ...events, 'event: end', `data: ${JSON.stringify(endOf(updates))}`, '']
    const all = Buffer.from(lines.map((line) => line + lineEnd).join(''), 'utf8')
    const length = within === undefined ? bytes : all.indexOf(`"seq":${within},`) + 20
    const sent = length === undefined ? all : all.subarray(0, length % all.length)
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
    response.flushHeaders()
    await writePieces(response, sent, cuts)
    if (length === undefined || how === 'close') response.end()
    else if (how === 'drop') response.socket?.destroy()
  }

async function writePieces(response: ServerResponse, bytes: Buffer, cuts: readonly number[]): Promise<void> {
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  for (const [index, start] of places.slice(0, -1).entries()) {
    const piece = bytes.subarray(start, places[index + 1])
    if (response.destroyed || piece.length === 0) continue
    await new Promise((resolve) => response.write(piece, resolve))
    // One turn of the loop per piece, so that each leaves as a packet of its own.
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Answers that are none of a stream, and heal. */
export const mishaps: Readonly<Record<string, Play>> = {
  'reset before an answer': answers.drop(),
  '503': answers.problem(503, 'SERVER_CLOSING', { retryable: true }),
  '429': answers.problem(429, 'RATE_LIMITED', { retryable: true }, { 'retry-after': '1' }),
  '502 of a proxy': answers.html(502),
}
