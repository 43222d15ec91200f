import { afterAll, beforeAll } from 'vitest'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { rejection } from '../support/caught.ts'

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
  const error = await rejection(work)
  if (OrchestratorError.is(error)) return error
  throw error
}
