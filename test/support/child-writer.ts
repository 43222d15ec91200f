import { type ChildProcess, spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import { fileURLToPath, pathToFileURL } from 'node:url'

export interface ChildWriter {
  readonly child: ChildProcess
  readonly pid: number
  /** What the child has told so far. */
  readonly lines: readonly string[]
  /** Resolves when so many lines were told. */
  told(count: number): Promise<void>
  /** kill -9, then everything it managed to tell. */
  kill(): Promise<readonly string[]>
}

/** A real process that writes to an embedded database, or only holds its directory. */
export function startWriter(mode: 'write' | 'hold', place: string): ChildWriter {
  const loader = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
  const script = fileURLToPath(new URL('./pglite-writer.ts', import.meta.url))
  const child = spawn(process.execPath, ['--import', loader, script, mode, place], { stdio: ['ignore', 'pipe', 'inherit'] })
  const lines: string[] = []
  const waiting: { count: number; resolve: () => void; reject: (error: Error) => void }[] = []
  const reader = createInterface(child.stdout)
  reader.on('line', (line) => {
    lines.push(line)
    for (const { count, resolve } of waiting) if (lines.length >= count) resolve()
  })
  const ended = new Promise<void>((resolve) => reader.once('close', resolve))
  child.once('exit', (code) => {
    for (const { reject } of waiting) reject(new Error(`The writer ended with ${code}`))
  })
  return {
    child,
    pid: child.pid ?? 0,
    lines,
    told: (count) =>
      new Promise((resolve, reject) => {
        if (lines.length >= count) resolve()
        else waiting.push({ count, resolve, reject })
      }),
    async kill() {
      child.kill('SIGKILL')
      await ended
      return lines
    },
  }
}
