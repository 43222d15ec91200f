import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { createProcessTable } from '../../src/system/process-table.ts'
import { until } from '../services/process-world.ts'

/** The value below which the share of all values lies. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((one, other) => one - other)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}

/** Multiples of a control that count as the share of the machine. */
export const CONTROLS = 4

/**
 * A bar that holds as it is on a quiet machine. On a busy one, where the machine itself needs `control` of the same unit
 * for the least work of the kind, it is a multiple of that.
 */
export const barOf = (bar: number, control: number): number => Math.max(bar, bar / 2 + CONTROLS * control)

/**
 * An idle thread with a timer of 10 ms: what it is late, the machine does to every timer. Resolves with all lateness in
 * milliseconds when it is stopped.
 */
export function startIdleThread() {
  const worker = new Worker(
    `const { parentPort } = require('node:worker_threads')
    const late = []
    let beforeMs = performance.now()
    setInterval(() => {
      const nowMs = performance.now()
      late.push(Math.max(0, nowMs - beforeMs - 10))
      beforeMs = nowMs
    }, 10)
    parentPort.once('message', () => parentPort.postMessage(late))`,
    { eval: true },
  )
  return {
    async stop(): Promise<readonly number[]> {
      worker.postMessage('stop')
      const [late] = await once(worker, 'message')
      await worker.terminate()
      return late
    },
  }
}

/**
 * Milliseconds that the machine needs to end twelve plain processes and to read its process table twice: the least that
 * the end of a tree can take.
 */
export async function endPlainProcesses(): Promise<number> {
  const table = createProcessTable('NONE')
  const children = Array.from({ length: 12 }, () => spawn('sleep', ['1000'], { stdio: 'ignore' }))
  await Promise.all(children.map((child) => once(child, 'spawn')))
  const sinceMs = performance.now()
  const exits = children.map((child) => once(child, 'exit'))
  for (const child of children) child.kill('SIGKILL')
  await table.read()
  await Promise.all(exits)
  await table.read()
  return performance.now() - sinceMs
}

/** Milliseconds from the last line of a plain Node program, which names its time, until its parent sees its exit. */
export async function seePlainExit(): Promise<number> {
  const child = spawn(process.execPath, ['-e', 'console.log(Date.now())'], { stdio: ['ignore', 'pipe', 'ignore'] })
  let text = ''
  child.stdout.on('data', (bytes: Buffer) => {
    text += bytes.toString()
  })
  let seenMs = 0
  child.once('exit', () => {
    seenMs = Date.now()
  })
  await until('the program has ended', () => seenMs > 0 && text !== '')
  return seenMs - Number(text)
}
