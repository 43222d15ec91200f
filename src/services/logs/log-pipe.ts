import { execFile } from 'node:child_process'
import { closeSync, constants, fstatSync, openSync, rmSync } from 'node:fs'
import { type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net'
import { promisify } from 'node:util'

/** Creates a named pipe for the user of this process only, in place of any file of this name. */
export async function createPipe(path: string): Promise<void> {
  rmSync(path, { force: true })
  // Node has no call for this.
  await promisify(execFile)('mkfifo', ['-m', '600', path])
}

/**
 * Opens the end of a child. It is open for reading too: if the supervisor is killed, the pipe still has a reader, so
 * the child gets no SIGPIPE. It waits when the pipe is full, until the next supervisor reads.
 */
export const openChildEnd = (path: string): number => openPipe(path, constants.O_RDWR)

/** What a pipe holds at most (`man 7 pipe`). */
const PIPE_BYTES = 65_536
/** A read of at least so many bytes shows a flood, whose child would wait for the pipe. */
const FLOOD_BYTES = PIPE_BYTES / 4
/**
 * Milliseconds between two reads otherwise. Bytes are lost if this process is killed after it read and before it wrote
 * them, which takes it some 30 microseconds: few reads are few such moments, and what is not read survives in the pipe.
 */
const PAUSE_MS = 100

export interface PipeReader {
  /** Resolves when no process has the pipe open for writing any more, or after `close`. */
  readonly ended: Promise<void>
  /** Reads what is left, for at most `timeoutMs`, and closes the pipe. */
  drain(timeoutMs: number): Promise<void>
  close(): void
}

/**
 * Reads the pipe. `onData` must be done with the bytes when it returns: what it has not written is lost if this process
 * is killed, and the next bytes are read only after it, so a child that floods the pipe waits. A child that writes a
 * little at a time is read every `PAUSE_MS`.
 */
export function readPipe(path: string, onData: (bytes: Buffer) => void): PipeReader {
  // A socket reads without a thread of its own; streams of files on quiet pipes would use up the pool of threads.
  let pause: NodeJS.Timeout | undefined
  let isDraining = false
  const options: SocketConstructorOpts & { readonly onread: OnReadOpts } = {
    fd: openPipe(path, constants.O_RDONLY | constants.O_NONBLOCK),
    readable: true,
    writable: false,
    // One buffer for all bytes: a flood would otherwise leave a new one for the garbage collector with every read.
    onread: {
      buffer: Buffer.allocUnsafe(PIPE_BYTES),
      callback(count, buffer) {
        onData(Buffer.from(buffer.buffer, buffer.byteOffset, count))
        if (isDraining || count >= FLOOD_BYTES) return true
        pause = setTimeout(() => socket.resume(), PAUSE_MS)
        return false
      },
    },
  }
  const socket = new Socket(options)
  // Without this the end of the pipe would be no event.
  socket.resume()
  socket.on('error', () => {})
  const ended = new Promise<void>((resolve) => {
    socket.once('end', resolve)
    socket.once('close', () => resolve())
  })
  return {
    ended,
    async drain(timeoutMs) {
      isDraining = true
      clearTimeout(pause)
      socket.resume()
      let timer: NodeJS.Timeout | undefined
      const timeout = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, timeoutMs)
      })
      await Promise.race([ended, timeout])
      clearTimeout(timer)
      socket.destroy()
    },
    close() {
      clearTimeout(pause)
      socket.destroy()
    },
  }
}

function openPipe(path: string, flags: number): number {
  const fd = openSync(path, flags | constants.O_NOFOLLOW)
  if (fstatSync(fd).isFIFO()) return fd
  closeSync(fd)
  throw new Error(`${path} must be a named pipe`)
}
