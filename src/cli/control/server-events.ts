import type { PolyphonyEvent } from '../../domain/event.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { toServerError } from './problem.ts'

/** Which events a server is asked for. */
export interface ServerEventQuery {
  readonly types?: readonly string[] | undefined
  readonly correlationId?: string | undefined
  readonly afterSeq?: number | undefined
}

export interface ServerEventStreamQuery extends ServerEventQuery {
  /** Number after which stored events come first. Default: only events from now on. */
  readonly afterSeq?: number | undefined
  readonly signal: AbortSignal
  /** Called when the server has dropped events, because they came faster than they were read. */
  readonly onGap: () => void
  /** Called with everything that the server sends: events and heartbeats. */
  readonly onAlive?: () => void
}

/** Events of a running server. */
export interface ServerEvents {
  /** At most `limit` stored events, by time. */
  list(query: ServerEventQuery, limit: number): Promise<readonly PolyphonyEvent[]>
  /**
   * The highest number of the log. With `afterSeq` only whether it is as high: any number from `afterSeq` on, or the
   * highest one, which is lower.
   */
  newestSeq(afterSeq: number | undefined, signal: AbortSignal): Promise<number>
  /**
   * Events of one connection, until the signal aborts. Rejects with SERVER_NOT_RUNNING when the server ends before, and
   * with the error with which the server ends the stream.
   */
  stream(query: ServerEventStreamQuery): AsyncIterable<PolyphonyEvent>
}

/** Sends GET to a path below `/api/v1`; rejects for every status but a successful one. */
export type GetFromServer = (
  path: string,
  options: { readonly accept: string; readonly signal?: AbortSignal },
) => Promise<Response>

/** Events of one answer, the most that a server gives. */
const PAGE = 1_000

/** Reads the events of a server over HTTP. Schemas are loaded at the first answer: every start loads this file. */
export function createServerEvents(get: GetFromServer): ServerEvents {
  const schemas = () => import('../../protocol/event.ts')

  return {
    async list({ afterSeq, ...query }, limit) {
      const { eventList } = await schemas()
      const found: PolyphonyEvent[] = []
      let position: Readonly<Record<string, string>> = afterSeq === undefined ? {} : { afterSeq: String(afterSeq) }
      for (;;) {
        const size = Math.min(PAGE, limit - found.length)
        if (size === 0) return found
        const path = `/events?${toParameters(query, { ...position, limit: String(size) })}`
        const answer: unknown = await (await get(path, { accept: 'application/json' })).json()
        const { items, nextCursor } = eventList.parse(answer)
        found.push(...items)
        // A list after a number has no updates of flows, and a cursor would add them.
        if (nextCursor === undefined) return found
        position = afterSeq === undefined ? { cursor: nextCursor } : { afterSeq: String(items.at(-1)?.seq ?? afterSeq) }
      }
    },
    async newestSeq(afterSeq = Number.MAX_SAFE_INTEGER, signal) {
      const { eventList } = await schemas()
      const answer = await get(`/events?afterSeq=${afterSeq}&limit=1`, { accept: 'application/json', signal })
      const list: unknown = await answer.json().catch((error: unknown) => {
        throw signal.aborted ? error : ended(error)
      })
      return eventList.parse(list).lastSeq
    },
    async *stream({ signal, onGap, onAlive, afterSeq, ...query }) {
      const { event } = await schemas()
      const parameters = toParameters(query, afterSeq === undefined ? {} : { afterSeq: String(afterSeq) })
      const response = await get(`/events?${parameters}`, { accept: 'text/event-stream', signal })
      for await (const { type, data } of readFrames(response, signal, onAlive)) {
        const value: unknown = JSON.parse(data)
        // Users choose the types of their events, so that one may have the type of a frame of the stream.
        const found = event.safeParse(value)
        if (found.success) yield found.data
        else if (type === 'problem') throw toServerError(value, 'the server has ended the stream of events')
        else onGap()
      }
      if (!signal.aborted) throw ended()
    },
  }
}

function toParameters({ types, correlationId }: ServerEventQuery, more: Readonly<Record<string, string>>): string {
  const given = { ...(types && { type: types.join(',') }), ...(correlationId !== undefined && { correlationId }), ...more }
  return new URLSearchParams(given).toString()
}

const ended = (cause?: unknown): OrchestratorError =>
  new OrchestratorError('SERVER_NOT_RUNNING', 'the server has ended while its events were read', { cause })

/** Texts of a body. Rejects with SERVER_NOT_RUNNING when the connection breaks. */
async function* readTexts({ body }: Response, signal: AbortSignal): AsyncGenerator<string, void> {
  try {
    yield* body?.pipeThrough(new TextDecoderStream()) ?? []
  } catch (error) {
    throw signal.aborted ? error : ended(error)
  }
}

/** Frames of a stream of server-sent events that have data. */
async function* readFrames(
  response: Response,
  signal: AbortSignal,
  onAlive: () => void = () => {},
): AsyncGenerator<{ readonly type: string; readonly data: string }, void> {
  let rest = ''
  for await (const text of readTexts(response, signal)) {
    const frames = (rest + text).split('\n\n')
    rest = frames.pop() ?? ''
    for (const frame of frames) {
      const fieldOf = (name: string) =>
        frame
          .split('\n')
          .find((line) => line.startsWith(`${name}: `))
          ?.slice(name.length + 2)
      const [type, data] = [fieldOf('event'), fieldOf('data')]
      // A problem is the end of a connection, and no sign of life.
      if (type !== 'problem') onAlive()
      if (type !== undefined && data !== undefined) yield { type, data }
    }
  }
}
