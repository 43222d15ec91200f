import { type FileHandle, open, stat } from 'node:fs/promises'
import { isErrorCode } from '../../system/error-code.ts'
import type { LogLine } from '../service.ts'
import { createLineSplitter } from './log-lines.ts'

export interface LogReaderOptions {
  /** Path of the current file. */
  readonly path: string
  /** Number of full files beside it. */
  readonly keep: number
  readonly lines: number
  readonly follow: boolean
  readonly signal?: AbortSignal
  /** Resolves when more may have been written, or on abort. */
  readonly changed: (signal: AbortSignal | undefined) => Promise<void>
}

interface OpenFile {
  readonly name: string
  readonly handle: FileHandle
  readonly ino: number
  readonly size: number
}

const CHUNK_BYTES = 64 * 1_024
const LINE_FEED = 0x0a

/** Reads the last lines of a log over its files, and with `follow` what is written after them. */
export async function* readLog(options: LogReaderOptions): AsyncGenerator<LogLine> {
  const { path, keep, lines, follow, signal, changed } = options
  const ready: LogLine[] = []
  const splitter = createLineSplitter((line) => ready.push(line))
  let files = await openAll(path, keep)
  try {
    let start = await findStart(files, lines)
    while (true) {
      for (const [index, { handle }] of files.entries()) {
        if (index < start.file) continue
        const from = index === start.file ? start.offset : 0
        for await (const bytes of readFrom(handle, from, (end) => {
          start = { file: index, offset: end }
        })) {
          splitter.push(bytes)
          yield* ready.splice(0)
          if (signal?.aborted) return
        }
      }
      if (!follow) break
      await changed(signal)
      if (signal?.aborted) return
      const newest = files.at(-1)
      const opened = await openAll(path, keep)
      const previous = files
      files = opened
      const position = newest ? await findFile(opened, newest.handle) : -1
      // The file that was read may have been removed: reading continues with the oldest one that is left.
      start = position < 0 ? { file: 0, offset: 0 } : { file: position, offset: start.offset }
      await closeAll(previous)
    }
    splitter.end()
    yield* ready
  } finally {
    await closeAll(files)
  }
}

/**
 * Opens all files, oldest first. If any is renamed meanwhile, or one stands under a name that was free, all are opened
 * again: one may have been passed over.
 */
async function openAll(path: string, keep: number): Promise<readonly OpenFile[]> {
  for (;;) {
    const names = [...Array.from({ length: keep }, (_, index) => `${path}.${keep - index}`), path]
    const opened: OpenFile[] = []
    for (const name of names) {
      const handle = await open(name, 'r').catch((error: unknown) => {
        if (isErrorCode(error, 'ENOENT')) return undefined
        throw error
      })
      if (!handle) continue
      const { size, ino } = await handle.stat()
      opened.push({ name, handle, size, ino })
    }
    if (await isUnchanged(names, opened)) return opened
    await closeAll(opened)
  }
}

/** Whether every file still has the name under which it was opened, and the other names are still free. */
async function isUnchanged(names: readonly string[], files: readonly OpenFile[]): Promise<boolean> {
  const inodes = new Map(files.map(({ name, ino }) => [name, ino]))
  for (const name of names) if ((await stat(name).catch(() => undefined))?.ino !== inodes.get(name)) return false
  return true
}

const closeAll = async (files: readonly OpenFile[]): Promise<void> => {
  for (const { handle } of files) await handle.close()
}

async function findFile(files: readonly OpenFile[], handle: FileHandle): Promise<number> {
  const { ino } = await handle.stat()
  return files.findIndex((file) => file.ino === ino)
}

/** Where the last `lines` lines begin: reads backwards in chunks, so that a large log costs no memory. */
async function findStart(files: readonly OpenFile[], lines: number): Promise<{ file: number; offset: number }> {
  const last = { file: Math.max(0, files.length - 1), offset: files.at(-1)?.size ?? 0 }
  if (lines <= 0) return last
  const buffer = Buffer.alloc(CHUNK_BYTES)
  let missing = lines
  let isLastByte = true
  for (const [file, { handle, size }] of [...files.entries()].reverse()) {
    for (let end = size; end > 0; ) {
      const from = Math.max(0, end - CHUNK_BYTES)
      const { bytesRead } = await handle.read(buffer, 0, end - from, from)
      for (let at = bytesRead - 1; at >= 0; at--) {
        const isEnd = isLastByte
        isLastByte = false
        // The line feed at the very end belongs to the last line.
        if (buffer[at] !== LINE_FEED || isEnd) continue
        if (--missing === 0) return { file, offset: from + at + 1 }
      }
      end = from
    }
  }
  return { file: 0, offset: 0 }
}

async function* readFrom(handle: FileHandle, offset: number, onRead: (end: number) => void): AsyncGenerator<Buffer> {
  for (let from = offset; ; ) {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(CHUNK_BYTES), 0, CHUNK_BYTES, from)
    if (bytesRead === 0) return
    from += bytesRead
    onRead(from)
    yield buffer.subarray(0, bytesRead)
  }
}
