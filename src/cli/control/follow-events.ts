import { setTimeout as sleep } from 'node:timers/promises'
import type { PolyphonyEvent } from '../../domain/event.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { ServerEventQuery, ServerEvents } from './server-events.ts'

export interface AcrossServersOptions extends Pick<ServerEventQuery, 'types' | 'correlationId'> {
  /** The events of the server of the folder, found anew for every connection: a new server has another address. */
  readonly connect: () => ServerEvents
  readonly signal: AbortSignal
  /** As in `ServerEvents.stream`. */
  readonly onGap: () => void
  /** Called before the wait for each further connection. */
  readonly onLost: (error: OrchestratorError, delayMs: number) => void
  /** Called when events are read again, with whether the log is the same as before. */
  readonly onRejoined: (isSameLog: boolean) => void
  /** Milliseconds before the second connection; each further wait is twice as long, up to `maxDelayMs`. */
  readonly baseDelayMs?: number
  readonly maxDelayMs?: number
  /** Connections in a row without an event or a heartbeat after which the last error is thrown. */
  readonly maxFailures?: number
}

const BASE_DELAY_MS = 250
const MAX_DELAY_MS = 10_000
/** About five minutes. */
const MAX_FAILURES = 35

/**
 * Yields the events that are published from now on, over as many connections and servers as needed. Those of the log
 * come in order, once, and without a gap; updates of flows have no number, so that those between two connections are
 * missing. A server whose log has fewer events than were read has another log, of which all events are yielded. Throws
 * what the first connection fails with, and later errors that a further connection cannot mend.
 */
export async function* readAcrossServers(options: AcrossServersOptions): AsyncGenerator<PolyphonyEvent, void> {
  const { connect, types, correlationId, signal, onGap, onLost, onRejoined } = options
  const { baseDelayMs = BASE_DELAY_MS, maxDelayMs = MAX_DELAY_MS, maxFailures = MAX_FAILURES } = options
  /** Number of the last event that was read; undefined before the first connection. */
  let seq: number | undefined
  let failures = 0
  // A connection on which nothing came has failed, however long it lasted.
  const onAlive = () => {
    failures = 0
  }
  while (!signal.aborted) {
    try {
      const events = connect()
      const newest = await events.newestSeq(seq, signal)
      if (seq !== undefined) onRejoined(newest >= seq)
      if (seq === undefined) seq = newest
      else if (newest < seq) seq = 0
      for await (const event of events.stream({ types, correlationId, afterSeq: seq, signal, onGap, onAlive })) {
        if (event.seq !== 0 && event.seq <= seq) continue
        seq = Math.max(seq, event.seq)
        yield event
      }
    } catch (error) {
      if (signal.aborted) return
      failures += 1
      if (seq === undefined || !isMendable(error) || failures > maxFailures) throw error
      const delayMs = Math.min(maxDelayMs, baseDelayMs * 2 ** (failures - 1))
      onLost(error, delayMs)
      await sleep(delayMs, undefined, { signal }).catch(() => {})
    }
  }
}

/** A server that starts has another token than the file of the one before it. */
const isMendable = (error: unknown): error is OrchestratorError =>
  OrchestratorError.is(error) && (error.retryable || error.code === 'UNAUTHENTICATED')
