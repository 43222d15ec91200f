import { createHash } from 'node:crypto'
import { connect as connectTcp } from 'node:net'
import { WebSocket } from 'ws'
import { SOCKET_PROTOCOL } from '../../../src/protocol/socket.ts'
import { eventsOf } from '../running-server.ts'

/** An update as it crossed the wire. */
export interface SeenUpdate {
  readonly seq: number
  readonly type: string
  readonly data: Readonly<Record<string, unknown>>
}

export interface Reading {
  readonly url: string
  readonly flowId: string
  readonly afterSeq: number
  /** The line is cut after so many updates; what is on its way is lost. */
  readonly cutAfter: number
  readonly onUpdate: (update: SeenUpdate) => void
  /** Given the line once it follows. */
  readonly onOpen?: (line: Line) => void
}

/** Stops to read, and reads on. */
export interface Line {
  pause(): unknown
  resume(): unknown
}

/** How it ended: nothing follows, or the line was cut, from whichever side, with the code where it has one. */
export type Ending = { readonly status: string; readonly lastSeq: number } | { readonly cut: number }

const NO_CODE = 1006

/** Follows over a WebSocket until the end or the cut. */
export function readSocket({ url, flowId, afterSeq, cutAfter, onUpdate, onOpen }: Reading): Promise<Ending> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`${url.replace('http', 'ws')}/ws`, SOCKET_PROTOCOL)
    let left = cutAfter
    const cut = () => {
      left = 0
      socket.terminate()
    }
    socket.on('error', () => {})
    socket.once('close', (code) => resolve({ cut: code }))
    socket.once('open', () => socket.send(JSON.stringify({ type: 'subscribe', flowId, afterSeq })))
    socket.on('message', (message) => {
      if (left <= 0) return
      const frame = JSON.parse(String(message))
      if (frame.type === 'subscribed') onOpen?.(socket)
      if (frame.type === 'refused') return reject(new Error(frame.problem.detail))
      if (frame.type === 'end') {
        resolve({ status: frame.status, lastSeq: frame.lastSeq })
        socket.terminate()
      } else if (frame.seq !== undefined) {
        onUpdate(frame)
        if (--left === 0) cut()
      }
    })
  })
}

/** Follows server-sent events until the end or the cut, which may fall into the middle of an event. */
export function readEvents({ url, flowId, afterSeq, cutAfter, onUpdate, onOpen }: Reading): Promise<Ending> {
  const { hostname, port, host } = new URL(url)
  return new Promise((resolve, reject) => {
    const socket = connectTcp({ host: hostname, port: Number(port) })
    let left = cutAfter
    let text = ''
    socket.on('error', () => {})
    socket.once('close', () => resolve({ cut: NO_CODE }))
    // HTTP/1.0: no chunks between the events.
    socket.write(
      `GET /api/v1/flows/${flowId}/updates HTTP/1.0\r\nHost: ${host}\r\nAccept: text/event-stream\r\nLast-Event-ID: ${afterSeq}\r\n\r\n`,
    )
    socket.setEncoding('utf8')
    socket.once('data', () => onOpen?.(socket))
    socket.on('data', (piece: string) => {
      text += piece
      const complete = text.lastIndexOf('\n\n') + 2
      const events = complete > 1 ? eventsOf(text.slice(0, complete)) : []
      text = complete > 1 ? text.slice(complete) : text
      for (const { event, id, data } of events) {
        if (left <= 0) return
        if (event === 'problem') return reject(new Error(String(data.detail)))
        if (event === 'end') {
          resolve({ status: String(data.status), lastSeq: Number(data.lastSeq) })
          socket.destroy()
          return
        }
        if (Number(id) !== data.seq || event !== data.type)
          return reject(new Error(`an event that says otherwise: ${id} ${event}`))
        onUpdate({ seq: Number(id), type: event, data: isData(data.data) ? data.data : {} })
        if (--left === 0) socket.destroy()
      }
    })
  })
}

const isData = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null

/** Everything a follower saw, over all its connections. */
export interface Seen {
  lastSeq: number
  /** Merged ones count once. */
  updates: number
  /** Connections so far, also those that nobody answered. */
  connections: number
  /** Connections that brought something before they were cut. */
  cuts: number
  /** Of updates by type and number, with the text between them; pieces of text may arrive merged, so their numbers do not stand in it. */
  readonly story: () => string
  /** Of the text of the step that started last. */
  readonly text: () => string
}

/** What stands for a long text: readers are many. */
export const digestOf = (text: string): string => createHash('sha1').update(text).digest('hex')

export interface FollowOptions {
  readonly flowId: string
  /** Asked before every connection: which server answers now. */
  readonly url: (connection: number) => string
  readonly cutAfter: () => number
  readonly onUpdate?: (seen: Seen) => void
}

/** Nothing yet, and what takes updates into it. */
export function createSeen(onUpdate?: (seen: Seen) => void): { readonly seen: Seen; readonly add: (update: SeenUpdate) => void } {
  const story = createHash('sha1')
  let text = createHash('sha1')
  const seen: Seen = {
    lastSeq: 0,
    updates: 0,
    connections: 0,
    cuts: 0,
    story: () => story.copy().digest('hex'),
    text: () => text.copy().digest('hex'),
  }
  const add = ({ seq, type, data }: SeenUpdate) => {
    if (seq <= seen.lastSeq) throw new Error(`${type} ${seq} came after ${seen.lastSeq}`)
    seen.lastSeq = seq
    seen.updates++
    if (type === 'step_progress') {
      story.update(String(data.delta))
      text.update(String(data.delta))
    } else {
      story.update(`[${type} ${seq}]`)
      if (type === 'step_start') text = createHash('sha1')
    }
    onUpdate?.(seen)
  }
  return { seen, add }
}

/** Follows to the end of the flow, over as many connections as it takes, with now one transport and now the other. */
export async function followOverCuts({ flowId, url, cutAfter, onUpdate }: FollowOptions): Promise<Seen> {
  const { seen, add } = createSeen(onUpdate)
  for (;;) {
    const before = seen.lastSeq
    const read = seen.connections % 2 === 0 ? readSocket : readEvents
    const ending = await read({
      url: url(seen.connections++),
      flowId,
      afterSeq: seen.lastSeq,
      cutAfter: cutAfter(),
      onUpdate: add,
    })
    if ('cut' in ending) {
      if (seen.lastSeq > before) seen.cuts++
      // The server may be away.
      else await new Promise((resolve) => setTimeout(resolve, 50))
      continue
    }
    if (ending.lastSeq !== seen.lastSeq) throw new Error(`the end said ${ending.lastSeq}, after ${seen.lastSeq}`)
    if (ending.status === 'COMPLETED') return seen
    throw new Error(`ended with ${ending.status}`)
  }
}
