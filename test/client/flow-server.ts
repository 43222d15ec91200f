import type { ServerResponse } from 'node:http'
import { answers, type Play, type SeenRequest } from './scripted-server.ts'

export interface SentUpdate {
  readonly seq: number
  readonly flowId: string
  readonly type: string
  readonly timestamp: string
  readonly data: unknown
}

/** Updates with these texts and sequence numbers from 1. */
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

/** Course of one connection. */
export interface Fate {
  /** Number of updates before the requested one that are sent again. */
  readonly overlap?: number
  /** Bytes after which the connection ends; absent: after all updates and `end`. */
  readonly bytes?: number
  /** Sequence number of the update in whose middle the connection ends. */
  readonly within?: number
  /** How a connection ends early: by a reset, by an ordinary end, or not at all. */
  readonly how?: 'drop' | 'close' | 'stall'
  /** Positions at which the bytes are split into packets. */
  readonly cuts?: readonly number[]
  readonly lineEnd?: string
}

/** Sequence number after which a request wants updates. */
export const afterSeqOf = ({ headers, path }: SeenRequest): number =>
  Number(headers['last-event-id'] ?? new URL(path, 'http://localhost').searchParams.get('afterSeq'))

/** Sends the updates after the requested number as server-sent events. */
export const stream =
  (updates: readonly SentUpdate[], { overlap = 0, bytes, within, how = 'drop', cuts = [], lineEnd = '\n' }: Fate = {}): Play =>
  async (response, request) => {
    const due = updates.filter(({ seq }) => seq > afterSeqOf(request) - overlap)
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
    await writeChunks(response, sent, cuts)
    if (length === undefined || how === 'close') response.end()
    else if (how === 'drop') response.socket?.destroy()
  }

async function writeChunks(response: ServerResponse, bytes: Buffer, cuts: readonly number[]): Promise<void> {
  const bounds = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  for (const [index, start] of bounds.slice(0, -1).entries()) {
    const chunk = bytes.subarray(start, bounds[index + 1])
    if (response.destroyed || chunk.length === 0) continue
    await new Promise((resolve) => response.write(chunk, resolve))
    // Each chunk is written after the previous one, so that each leaves as its own packet.
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Recoverable answers that are not a stream. */
export const mishaps: Readonly<Record<string, Play>> = {
  'reset before an answer': answers.drop(),
  '503': answers.problem(503, 'SERVER_CLOSING', { retryable: true }),
  '429': answers.problem(429, 'RATE_LIMITED', { retryable: true }, { 'retry-after': '1' }),
  '502 of a proxy': answers.html(502),
}
