import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import { afterAll, beforeAll } from 'vitest'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'

export interface Asked {
  /** First segment of the path: whose request it is. */
  readonly room: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly text: string
  readonly body: unknown
  readonly response: ServerResponse
  /** Resolves when the connection of this request is gone or its answer is complete. */
  readonly closed: Promise<void>
}

export interface Loopback {
  readonly url: string
  readonly origin: string
  close(): Promise<void>
}

/** A server on loopback that hands every request, read to its end, to `play`. */
export async function createLoopback(play: (asked: Asked) => unknown): Promise<Loopback> {
  const server = createServer((request, response) => {
    const closed = new Promise<void>((resolve) => response.once('close', resolve))
    const pieces: Buffer[] = []
    request.on('data', (piece: Buffer) => pieces.push(piece))
    // A client that goes away in the middle of its request is no event of interest.
    request.on('error', () => undefined)
    request.on('end', () => {
      const text = Buffer.concat(pieces).toString('utf8')
      const path = request.url ?? ''
      play({ room: path.split('/')[1] ?? '', path, headers: request.headers, text, body: parsed(text), response, closed })
    })
  })
  server.keepAliveTimeout = 60_000
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  const url = `http://127.0.0.1:${port}`
  return {
    url,
    origin: url,
    close() {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** Gathers rejections that nobody handled and process warnings while the tests of a file run. */
export function watchProcess(): { readonly rejections: unknown[]; readonly warnings: Error[] } {
  const rejections: unknown[] = []
  const warnings: Error[] = []
  const onRejection = (reason: unknown) => rejections.push(reason)
  const onWarning = (warning: Error) => warnings.push(warning)
  beforeAll(() => {
    process.on('unhandledRejection', onRejection)
    process.on('warning', onWarning)
  })
  afterAll(() => {
    process.off('unhandledRejection', onRejection)
    process.off('warning', onWarning)
  })
  return { rejections, warnings }
}

/** Runs the jobs, at most `width` of them at a time. */
export async function inParallel<T>(items: readonly T[], width: number, job: (item: T) => Promise<void>): Promise<void> {
  const waiting = [...items]
  const worker = async () => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await job(item)
  }
  await Promise.all(Array.from({ length: width }, worker))
}

// Taken here, so that a test which moves the clock does not move these.
const { setTimeout: startTimer, clearTimeout: stopTimer } = globalThis

/** Rejects where the work has not ended after `ms`: a hung flow must not look like a slow test. */
export async function unlessHung<T>(work: Promise<T>, what: string, ms = 60_000): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const hung = new Promise<never>((_, reject) => {
    timer = startTimer(() => reject(new Error(`hung: ${what}`)), ms)
  })
  return Promise.race([work, hung]).finally(() => stopTimer(timer))
}

/** The error that the work ends with; rejects where it succeeds or ends with anything that is no OrchestratorError. */
export async function rejectionOf(work: Promise<unknown>): Promise<OrchestratorError> {
  try {
    await work
  } catch (error) {
    if (OrchestratorError.is(error)) return error
    throw error
  }
  throw new Error('expected an error, found none')
}
