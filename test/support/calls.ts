import type { Clock } from '../../src/async/clock.ts'
import type {
  AttemptContext,
  CallContext,
  CallRequest,
  CallResponse,
  PreparedRequest,
  RetryNotice,
} from '../../src/calls/call.ts'
import type { ModelResponse } from '../../src/domain/execution/model-call.ts'
import type { Attempt } from '../../src/domain/execution/step-result.ts'

export const answer = (text = 'hello', more: Partial<ModelResponse> = {}): ModelResponse & { simulated: boolean } => ({
  text,
  finishReason: 'stop',
  model: 'model-a',
  usage: { inputTokens: 10, outputTokens: 20, totalTokens: 30, source: 'reported' },
  notes: [],
  simulated: false,
  ...more,
})

export const callAnswer = (more: Partial<CallResponse> = {}): CallResponse => ({
  ...answer(),
  provider: 'alpha',
  requestedModel: 'model-a',
  ...more,
})

export const prepared = (more: Partial<PreparedRequest> = {}): PreparedRequest => ({
  provider: 'alpha',
  model: 'model-a',
  system: 'You are brief.',
  messages: [{ role: 'user', content: 'Hello there' }],
  settings: {},
  countInputTokens: async () => 10,
  ...more,
})

export const requestTo = (...providers: readonly string[]): CallRequest => ({
  targets: (providers.length === 0 ? ['alpha'] : providers).map((provider) => ({ provider, model: 'model-a' })),
  prepare: (target) => prepared(target),
})

export interface Recorded {
  readonly attempts: Attempt[]
  readonly retries: RetryNotice[]
}

export const callContext = (more: Partial<CallContext> = {}): CallContext & Recorded => {
  const attempts: Attempt[] = []
  const retries: RetryNotice[] = []
  return {
    signal: new AbortController().signal,
    maxRetries: 0,
    restartAfterFirstToken: false,
    onAttempt: (attempt) => attempts.push(attempt),
    onRetry: (retry) => retries.push(retry),
    attempts,
    retries,
    ...more,
  }
}

export const tryContext = (more: Partial<AttemptContext> = {}): AttemptContext & Recorded => ({
  ...callContext(more),
  progress: { attempts: 0, textDelivered: false, targetsLeft: 0 },
  ...more,
})

/** Time that stands still until it is told to pass. */
export interface ManualClock extends Clock {
  /** Lets time pass, firing timers in order, with room for promises between them. */
  pass(ms: number): Promise<void>
  /** Timers that would still fire. */
  readonly pending: number
}

export const settled = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve()
  await new Promise((resolve) => setImmediate(resolve))
}

export function manualClock(random = () => 0.5): ManualClock {
  let now = 1_700_000_000_000
  const timers = new Set<{ readonly at: number; readonly run: () => void }>()
  return {
    now: () => now,
    random,
    startTimer: (delayMs, run) => {
      const timer = { at: now + delayMs, run }
      timers.add(timer)
      return () => timers.delete(timer)
    },
    get pending() {
      return timers.size
    },
    async pass(ms) {
      const end = now + ms
      await settled()
      for (;;) {
        const [next] = [...timers].filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)
        if (!next) break
        now = Math.max(now, next.at)
        timers.delete(next)
        next.run()
        await settled()
      }
      now = end
      await settled()
    },
  }
}
