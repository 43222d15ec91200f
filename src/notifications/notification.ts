/**
 * Short messages between the processes that share a database. A message is a hint that something changed, never the
 * change itself: it may be lost, and subscribers must find the same facts in the database.
 *
 * Composition opens one bus per process: with `createNotificationBus` over Postgres (LISTEN and NOTIFY) or Redis
 * (publish and subscribe), which pass the suite `test/contracts/notifications.ts`; with `createLocalBus` where no other
 * process opens the store.
 *
 * ```ts
 * import type { NotificationBus } from './notification.ts'
 *
 * export const printUpdatesOf = (bus: NotificationBus, flowId: string) =>
 *   bus.subscribe(`flow:${flowId}`, { onMessage: (payload) => console.log(payload) })
 * ```
 */
export interface NotificationBus {
  /**
   * Sends a message to the subscribers in all other processes, within a few milliseconds and together with other
   * messages. Never waits and never throws for a lost connection. Throws INTERNAL for a topic and payload of more than
   * `MAX_MESSAGE_BYTES` together.
   */
  publish(topic: string, payload: string): void
  /**
   * Calls back with every message that another process publishes under the topic. Connects if nothing else has.
   * Returns the function that ends the subscription; calling it twice has no effect.
   */
  subscribe(topic: string, subscriber: Subscriber): () => void
  /**
   * Whether another process has announced a subscription to the topic within the last 15 seconds. Called before each
   * frequent message, so that nothing is sent without a receiver. Must be cheap.
   */
  hasSubscribersElsewhere(topic: string): boolean
  /**
   * As `hasSubscribersElsewhere`, and true as well as long as that is not known: before the bus has connected, and
   * until others had the time to answer. For messages of processes that may never subscribe to anything. Must be cheap.
   */
  mayHaveSubscribersElsewhere(topic: string): boolean
  /** Whether messages arrive: the bus is connected and has received its own greeting. */
  isConnected(): boolean
  /** Sends what is still queued, for at most a second, and disconnects. Safe to call twice. */
  close(): Promise<void>
}

export interface Subscriber {
  /** Must not throw. */
  onMessage(payload: string): void
  /**
   * Called when messages may have been lost: after this process or another one has connected. Must check for changes in
   * the database.
   */
  onGap?(): void
}

/** Bytes of UTF-8 of a topic and its payload together. */
export const MAX_MESSAGE_BYTES = 4_000

/** Carries frames from each process to all of them, the sender included. */
export interface BroadcastTransport {
  /** Bytes of UTF-8 that one frame may have. */
  readonly maxFrameBytes: number
  /** Resolves when frames of other processes arrive. Rejects if the server does not answer. */
  connect(handlers: FrameHandlers): Promise<BroadcastConnection>
}

export interface FrameHandlers {
  onFrame(frame: string): void
  /** Called once when the connection is lost; never after `close`. */
  onLost(): void
}

export interface BroadcastConnection {
  /** Sends frames in order, if possible in one request. Rejects if the connection is lost. */
  send(frames: readonly string[]): Promise<void>
  close(): Promise<void>
}
