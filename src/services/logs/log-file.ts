import { closeSync, constants, fstatSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'

export interface LogFileOptions {
  readonly path: string
  /** Bytes of one file; a write that would pass them begins a new file. */
  readonly maxBytes: number
  /** Number of full files that are kept beside the current one, as `<path>.1` (the newest) and so on. */
  readonly keep: number
  /** Called with the bytes that could not be written, at the first failure and at most once a second after it. */
  readonly onDropped: (bytes: number) => void
  /** Called after every write. */
  readonly onWrite?: () => void
  /** Writes the bytes and returns how many were written; default `fs.writeSync`. */
  readonly write?: (fd: number, bytes: Buffer) => number
}

export interface LogFile {
  /** Writes before it returns. Never throws: a full disk costs lines, not the service. */
  write(bytes: Buffer): void
  close(): void
}

const REPORT_MS = 1_000

/** Appends to a file of bounded size. Every byte of the service is written as it is. */
export function createLogFile({ path, maxBytes, keep, onDropped, onWrite, write = writeSync }: LogFileOptions): LogFile {
  let fd: number | undefined
  let size = 0
  let dropped = 0
  let reportedMs = Number.NEGATIVE_INFINITY

  const open = (): number => {
    const { O_APPEND, O_CREAT, O_WRONLY, O_NOFOLLOW } = constants
    const opened = openSync(path, O_APPEND | O_CREAT | O_WRONLY | O_NOFOLLOW, 0o600)
    size = fstatSync(opened).size
    fd = opened
    return opened
  }

  function rotate(): void {
    if (fd !== undefined) closeSync(fd)
    fd = undefined
    if (keep === 0) rmSync(path, { force: true })
    for (let index = keep; index > 0; index--) {
      renameIfThere(index === 1 ? path : `${path}.${index - 1}`, `${path}.${index}`)
    }
  }

  function append(bytes: Buffer): void {
    let target = fd ?? open()
    if (size > 0 && size + bytes.length > maxBytes) {
      rotate()
      target = open()
    }
    for (let rest = bytes; rest.length > 0; ) {
      const count = write(target, rest)
      size += count
      rest = rest.subarray(count)
      if (rest.length > 0 && count === 0) throw new Error('nothing was written')
    }
  }

  function report(isOver: boolean): void {
    if (dropped === 0 || (!isOver && performance.now() - reportedMs < REPORT_MS)) return
    reportedMs = performance.now()
    const bytes = dropped
    dropped = 0
    onDropped(bytes)
  }

  return {
    write(bytes) {
      const sizeBefore = size
      try {
        append(bytes)
        report(true)
      } catch {
        // Part of the bytes may have been written, in the same file or in a new one.
        const stored = size >= sizeBefore ? size - sizeBefore : size
        dropped += Math.max(0, bytes.length - stored)
        report(false)
      }
      onWrite?.()
    },
    close() {
      report(true)
      if (fd !== undefined) closeSync(fd)
      fd = undefined
    },
  }
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to)
  } catch {
    // The file may not exist yet; another failure costs only the old file, which the next one replaces.
  }
}
