import type { PolyphonyEvent } from '../../domain/event.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/** Which events a server is asked for. */
export interface ServerEventQuery {
  readonly types?: readonly string[] | undefined
  readonly correlationId?: string | undefined
  readonly afterSeq?: number | undefined
}

export interface ServerEventStreamQuery extends ServerEventQuery {
  readonly signal: AbortSignal
  /** Called when the server has dropped events, because they came faster than they were read. */
  readonly onGap: () => void
}

/** Events of a running server. */
export interface ServerEvents {
  /** At most `limit` stored events, by time. */
  list(query: ServerEventQuery, limit: number): Promise<readonly PolyphonyEvent[]>
  /** Events from now on, until the signal aborts. Rejects with SERVER_NOT_RUNNING when the server ends before. */
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
    async *stream({ signal, onGap, ...query }) {
      const { event } = await schemas()
      const response = await get(`/events?${toParameters(query, {})}`, { accept: 'text/event-stream', signal })
      for await (const { type, data } of readFrames(response)) {
        if (type === 'gap') onGap()
        else yield event.parse(JSON.parse(data))
      }
      if (!signal.aborted) throw new OrchestratorError('SERVER_NOT_RUNNING', 'the server has ended while its events were read')
    },
  }
}

function toParameters({ types, correlationId }: ServerEventQuery, more: Readonly<Record<string, string>>): string {
  const given = { ...(types && { type: types.join(',') }), ...(correlationId !== undefined && { correlationId }), ...more }
  return new URLSearchParams(given).toString()
}

/** Frames of a stream of server-sent events that have data. */
async function* readFrames({ body }: Response): AsyncGenerator<{ readonly type: string; readonly data: string }, void> {
  let rest = ''
  for await (const text of body?.pipeThrough(new TextDecoderStream()) ?? []) {
    const frames = (rest + text).split('\n\n')
    rest = frames.pop() ?? ''
    for (const frame of frames) {
      const fieldOf = (name: string) =>
        frame
          .split('\n')
          .find((line) => line.startsWith(`${name}: `))
          ?.slice(name.length + 2)
      const [type, data] = [fieldOf('event'), fieldOf('data')]
      if (type !== undefined && data !== undefined) yield { type, data }
    }
  }
}
