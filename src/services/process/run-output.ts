import { join } from 'node:path'
import { createLogFile } from '../logs/log-file.ts'
import { createLineSplitter } from '../logs/log-lines.ts'
import { type PipeReader, readPipe } from '../logs/log-pipe.ts'
import { readLog } from '../logs/log-reader.ts'
import type { LogLine } from '../service.ts'

export interface OutputOptions {
  readonly logDir: string
  readonly maxBytes: number
  readonly keep: number
  /** Called with the bytes that could not be written to the log, for example because the disk is full. */
  readonly onLogDropped?: (dropped: { readonly id: string; readonly bytes: number }) => void
  /** Writes to the file of a log; default `fs.writeSync`. */
  readonly writeLog?: (fd: number, bytes: Buffer) => number
}

export interface RunOutput {
  /** Resolves when no process has the pipe open any more. */
  readonly ended: Promise<void>
  /** Stores what is left in the pipe, for at most `timeoutMs`. */
  finish(timeoutMs: number): Promise<void>
  /** Leaves the pipe to the next supervisor. */
  detach(): void
}

/** The output of all services: from their pipes to their logs. */
export interface Outputs {
  attach(id: string, pipePath: string, onLine?: (text: string) => unknown): RunOutput
  read(
    id: string,
    options?: { readonly lines?: number; readonly follow?: boolean; readonly signal?: AbortSignal },
  ): AsyncIterable<LogLine>
}

const DEFAULT_LINES = 200
/** Wait in milliseconds before a log is read again that another process may write. */
const REREAD_MS = 250

export function createOutputs({ logDir, maxBytes, keep, onLogDropped, writeLog }: OutputOptions): Outputs {
  const waiting = new Map<string, Set<() => void>>()
  const pathOf = (id: string) => join(logDir, `${id}.log`)
  const wake = (id: string) => {
    for (const resolve of waiting.get(id) ?? []) resolve()
  }

  function untilChanged(id: string, signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted) return Promise.resolve()
    return new Promise((resolve) => {
      const callbacks = waiting.get(id) ?? new Set()
      waiting.set(id, callbacks)
      const settle = () => {
        clearTimeout(timer)
        callbacks.delete(settle)
        if (callbacks.size === 0) waiting.delete(id)
        signal?.removeEventListener('abort', settle)
        resolve()
      }
      const timer = setTimeout(settle, REREAD_MS)
      callbacks.add(settle)
      signal?.addEventListener('abort', settle, { once: true })
    })
  }

  return {
    attach(id, pipePath, onLine) {
      const file = createLogFile({
        path: pathOf(id),
        maxBytes,
        keep,
        onDropped: (bytes) => onLogDropped?.({ id, bytes }),
        onWrite: () => wake(id),
        ...(writeLog && { write: writeLog }),
      })
      let wantsLines = onLine !== undefined
      const splitter = createLineSplitter(({ text }) => {
        if (wantsLines && onLine?.(text) === false) wantsLines = false
      })
      const reader: PipeReader = readPipe(pipePath, (bytes) => {
        file.write(bytes)
        if (wantsLines) splitter.push(bytes)
      })
      return {
        ended: reader.ended,
        async finish(timeoutMs) {
          await reader.drain(timeoutMs)
          if (wantsLines) splitter.end()
          file.close()
        },
        detach() {
          reader.close()
          file.close()
        },
      }
    },
    read: (id, { lines = DEFAULT_LINES, follow = false, signal } = {}) =>
      readLog({ path: pathOf(id), keep, lines, follow, changed: (until) => untilChanged(id, until), ...(signal && { signal }) }),
  }
}
