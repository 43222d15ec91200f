import { callListener } from '../async/call-listener.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { fromFrame, type TopicMessage, toFrames } from './frames.ts'
import {
  type BroadcastConnection,
  type BroadcastTransport,
  MAX_MESSAGE_BYTES,
  type NotificationBus,
  type Subscriber,
} from './notification.ts'

export interface NotificationBusOptions {
  readonly transport: BroadcastTransport
  /** Differs from the ids of all other buses. */
  readonly id: string
  /** Milliseconds between two announcements of the own topics, which also test the connection. Default: 5,000. */
  readonly announceMs?: number
  /** Milliseconds until the first attempt to connect again; later ones wait up to 5 seconds. Default: 100. */
  readonly reconnectMs?: number
}

/**
 * Messages of this time are sent together: a NOTIFY is a transaction, and Postgres holds one lock of the whole database
 * while a transaction with notifications commits.
 */
const SEND_INTERVAL_MS = 5
const ANNOUNCE_MS = 5_000
/**
 * Number of announcement intervals after which a topic that was not announced again has no subscribers, and a
 * connection that delivers nothing is replaced.
 */
const ANNOUNCEMENTS_MISSED = 3
const RECONNECT_MS = 100
const LONGEST_RECONNECT_MS = 5_000
const CLOSE_WITHIN_MS = 1_000
/** Messages that are kept while the bus is not connected; the oldest are dropped. */
const MAX_QUEUED = 1_000

/** A bus over any transport. It connects with the first subscription or message. */
export function createNotificationBus(options: NotificationBusOptions): NotificationBus {
  const { transport, id, announceMs = ANNOUNCE_MS, reconnectMs = RECONNECT_MS } = options
  const subscribers = new Map<string, Set<Subscriber>>()
  /** Topics that other processes have announced, with the time (`performance.now`) until which they count. */
  const elsewhere = new Map<string, number>()
  let queue: TopicMessage[] = []
  let announcements = new Set<string>()
  let greeting = false
  let connection: BroadcastConnection | undefined
  /** Incremented with every attempt to connect, so that callbacks of an earlier connection are ignored. */
  let attempt = 0
  let isStarted = false
  let isConnected = false
  /** When the bus has connected the last time (`performance.now`). */
  let connectedMs = 0
  /** Announcements since the bus has last received a frame of its own. */
  let unansweredAnnouncements = 0
  let failures = 0
  let lastSentMs = Number.NEGATIVE_INFINITY
  let sending: Promise<void> | undefined
  let sendTimer: NodeJS.Timeout | undefined
  let connectTimer: NodeJS.Timeout | undefined
  let announceTimer: NodeJS.Timeout | undefined
  let closing: Promise<void> | undefined
  let isClosed = false

  const start = () => {
    if (isStarted || closing) return
    isStarted = true
    announceTimer = setInterval(announceAll, announceMs).unref()
    void connect()
  }

  async function connect(): Promise<void> {
    const current = ++attempt
    const lost = () => {
      if (attempt === current) loseConnection()
    }
    try {
      const opened = await transport.connect({
        onFrame: (text) => (attempt === current ? receive(text) : undefined),
        onLost: lost,
      })
      if (attempt !== current || isClosed) return await opened.close()
      connection = opened
      greeting = true
      unansweredAnnouncements = 0
      for (const topic of subscribers.keys()) announcements.add(topic)
      sendSoon()
    } catch {
      lost()
    }
  }

  function loseConnection(): void {
    attempt++
    const lost = connection
    connection = undefined
    isConnected = false
    void lost?.close().catch(() => {})
    if (isClosed) return
    const pauseMs = Math.min(reconnectMs * 2 ** failures++, LONGEST_RECONNECT_MS)
    connectTimer = setTimeout(() => void connect(), pauseMs * (0.5 + Math.random() / 2)).unref()
  }

  /** A connection that does not deliver the bus its own frames is replaced, for example one behind a proxy. */
  function announceAll(): void {
    const nowMs = performance.now()
    for (const [topic, untilMs] of elsewhere) if (untilMs < nowMs) elsewhere.delete(topic)
    if (!connection) return
    if (subscribers.size === 0) return
    if (unansweredAnnouncements++ === ANNOUNCEMENTS_MISSED) {
      loseConnection()
      return
    }
    for (const topic of subscribers.keys()) announcements.add(topic)
    sendSoon()
  }

  function sendSoon(): void {
    if (sendTimer || sending || !connection) return
    const waitMs = Math.max(0, lastSentMs + SEND_INTERVAL_MS - performance.now())
    sendTimer = setTimeout(() => {
      sendTimer = undefined
      sending = send().finally(() => {
        sending = undefined
        if (hasContent()) sendSoon()
      })
    }, waitMs)
  }

  const hasContent = () => greeting || queue.length > 0 || announcements.size > 0

  async function send(): Promise<void> {
    const current = attempt
    if (!connection || !hasContent()) return
    const frames = toFrames({ sender: id, messages: queue, announced: [...announcements], greeting }, transport.maxFrameBytes)
    queue = []
    announcements = new Set()
    greeting = false
    lastSentMs = performance.now()
    try {
      await connection.send(frames)
    } catch {
      // The messages are lost. The greeting after the next connection makes their subscribers read the database.
      if (attempt === current) loseConnection()
    }
  }

  function receive(text: string): void {
    const frame = fromFrame(text)
    if (!frame) return
    if (frame.sender === id) {
      receiveEcho()
      return
    }
    const untilMs = performance.now() + ANNOUNCEMENTS_MISSED * announceMs
    for (const topic of frame.announced) elsewhere.set(topic, untilMs)
    for (const [topic, payload] of frame.messages) {
      for (const subscriber of [...(subscribers.get(topic) ?? [])]) callListener(() => subscriber.onMessage(payload))
    }
    if (!frame.greeting) return
    for (const topic of subscribers.keys()) announcements.add(topic)
    if (announcements.size > 0) sendSoon()
    reportGap()
  }

  function receiveEcho(): void {
    unansweredAnnouncements = 0
    if (isConnected) return
    isConnected = true
    connectedMs = performance.now()
    failures = 0
    reportGap()
  }

  const reportGap = () => {
    for (const group of [...subscribers.values()]) for (const subscriber of [...group]) callListener(() => subscriber.onGap?.())
  }

  const hasSubscribersElsewhere = (topic: string) => (elsewhere.get(topic) ?? 0) > performance.now()

  async function end(): Promise<void> {
    clearInterval(announceTimer)
    for (const deadlineMs = performance.now() + CLOSE_WITHIN_MS; queue.length > 0 && performance.now() < deadlineMs; ) {
      await new Promise((resolve) => setTimeout(resolve, SEND_INTERVAL_MS))
    }
    isClosed = true
    clearTimeout(connectTimer)
    clearTimeout(sendTimer)
    attempt++
    isConnected = false
    await sending
    await connection?.close().catch(() => {})
    connection = undefined
  }

  return {
    publish(topic, payload) {
      const bytes = Buffer.byteLength(topic) + Buffer.byteLength(payload)
      if (bytes > MAX_MESSAGE_BYTES) {
        throw new OrchestratorError(
          'INTERNAL',
          `Expected a message of at most ${MAX_MESSAGE_BYTES} bytes for topic "${topic.slice(0, 80)}", found ${bytes}`,
        )
      }
      if (closing) return
      start()
      queue.push([topic, payload])
      if (queue.length > MAX_QUEUED && !connection) queue.shift()
      sendSoon()
    },
    subscribe(topic, subscriber) {
      const group = subscribers.get(topic) ?? new Set()
      if (group.size === 0) {
        subscribers.set(topic, group)
        announcements.add(topic)
      }
      group.add(subscriber)
      start()
      sendSoon()
      return () => {
        group.delete(subscriber)
        if (group.size > 0 || subscribers.get(topic) !== group) return
        subscribers.delete(topic)
        announcements.delete(topic)
      }
    },
    hasSubscribersElsewhere,
    mayHaveSubscribersElsewhere: (topic) =>
      hasSubscribersElsewhere(topic) || !isConnected || performance.now() < connectedMs + announceMs,
    isConnected: () => isConnected,
    close() {
      closing ??= end()
      return closing
    },
  }
}
