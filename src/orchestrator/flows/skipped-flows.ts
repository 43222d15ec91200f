import type { QueueRepository } from '../../repositories/repository.ts'

export interface SkippedFlowsDeps {
  readonly queue: Pick<QueueRepository, 'claimNext' | 'unrunnable'>
  /** What this process can run. Implemented by FlowDefinitions. */
  readonly requirements: () => readonly string[]
  readonly logger: { warn(message: string, facts: Readonly<Record<string, unknown>>): void }
  readonly now: () => Date
}

/** Logs definitions whose queued flows this process leaves to others. */
export interface SkippedFlows {
  /** Logs from now on: called when the process has registered its definitions. */
  start(): void
  /** `QueueRepository.claimNext`; an answer with skipped flows leads to the log line. */
  readonly claimNext: QueueRepository['claimNext']
}

/** Milliseconds between two readings of the names, because each reads the whole queue. */
const READ_EVERY_MS = 60_000

/** Each definition is logged once. */
export function createSkippedFlows({ queue, requirements, logger, now }: SkippedFlowsDeps): SkippedFlows {
  let started = false
  let nextReadMs = 0
  const logged = new Set<string>()

  async function log(): Promise<void> {
    const found = await queue.unrunnable(requirements())
    const names = found
      .filter(({ newerVersion }) => newerVersion === undefined)
      .map(({ name, version }) => (version === undefined ? name : `${name}@${version}`))
      .filter((name) => !logged.has(name))
    if (names.length === 0) return
    for (const name of names) logged.add(name)
    logger.warn('queued flows are left to other processes: their definitions have functions that are not registered here', {
      definitions: names,
    })
  }

  return {
    start() {
      started = true
    },
    async claimNext(request) {
      const answer = await queue.claimNext(request)
      if (started && 'unrunnable' in answer && answer.unrunnable > 0 && now().getTime() >= nextReadMs) {
        nextReadMs = now().getTime() + READ_EVERY_MS
        // Nothing depends on the log, and the database is read again later.
        void log().catch(() => undefined)
      }
      return answer
    },
  }
}
