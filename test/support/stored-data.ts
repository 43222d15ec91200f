import { createHash, randomUUID } from 'node:crypto'
import { type Attempt, type StepResult, stepResultId } from '../../src/domain/execution/step-result.ts'
import { addUsage } from '../../src/domain/execution/usage.ts'
import type { Message, Thread } from '../../src/domain/users/thread.ts'
import type { Claim, FlowInsert, FlowOutcome, StoredDefinition, StoredUpdate } from '../../src/repositories/repository.ts'

/** Rows for tests of stores: consistent with themselves, so that a store may derive what can be derived. */

export const instant = (second: number, ms = 0): Date => new Date(Date.UTC(2026, 0, 2, 3, 4, 0, 0) + second * 1000 + ms)

export function newThread(overrides: Partial<Thread> = {}): Thread {
  return { id: randomUUID(), userId: `user-${randomUUID()}`, title: 'A title', createdAt: instant(0, 7), ...overrides }
}

export function newMessage(threadId: string, overrides: Partial<Message> = {}): Message {
  return { id: randomUUID(), threadId, role: 'user', content: 'Hello', metadata: {}, createdAt: instant(0), ...overrides }
}

export function definitionOf(json: string): StoredDefinition {
  return { hash: createHash('sha256').update(json).digest('hex'), json, isData: true, version: '1' }
}

export function newFlow(threadId: string, overrides: Partial<FlowInsert> = {}): FlowInsert {
  return {
    id: randomUUID(),
    threadId,
    userId: 'user-1',
    name: 'Critique',
    flowType: 'sequential',
    definition: definitionOf('{"name":"Critique","steps":[{"id":"draft"}]}'),
    createdAt: instant(0),
    simulated: false,
    ...overrides,
  }
}

export function newClaim(flowId: string, overrides: Partial<Claim> = {}): Claim {
  return {
    flowId,
    from: ['PENDING', 'PAUSED', 'FAILED', 'CANCELLED'],
    ownerId: `owner-${randomUUID()}`,
    startedAt: instant(1, 123),
    input: 'Write a haiku',
    ...overrides,
  }
}

export function attempt(number: number, overrides: Partial<Attempt> = {}): Attempt {
  return {
    number,
    provider: 'openai',
    model: 'gpt-5.4-2026-03-05',
    startedAt: instant(number, 17),
    executionTime: 1234,
    usage: { inputTokens: 25, cachedInputTokens: 5, outputTokens: 200, totalTokens: 225, source: 'reported' },
    cost: 0.0030625,
    costSource: 'prices',
    pricesDate: '2026-11-01',
    aborted: false,
    simulated: false,
    ...overrides,
  }
}

export function failedAttempt(number: number): Attempt {
  const { usage: _usage, cost: _cost, costSource: _source, pricesDate: _date, ...rest } = attempt(number)
  return {
    ...rest,
    error: { code: 'PROVIDER_RATE_LIMITED', message: 'Too many requests.', retryable: true, details: { status: 429 } },
  }
}

export function stepResult(flowId: string, stepId: string, overrides: Partial<StepResult> = {}): StepResult {
  const { iteration = 1, sample = 0, attempts = [attempt(1)], sharing = [] } = overrides
  const last = attempts.at(-1)
  const costs = attempts.flatMap(({ cost }) => cost ?? [])
  const usages = attempts.flatMap(({ usage }) => usage ?? [])
  const completedAt = overrides.completedAt ?? instant(9, 999)
  const known = {
    provider: last?.provider ?? 'openai',
    model: last?.model ?? 'gpt-5.4',
    action: overrides.action ?? ('generate' as const),
    ...(usages.length > 0 ? { usage: addUsage(usages) } : {}),
    ...(costs.length > 0 ? { cost: costs.reduce((sum, cost) => sum + cost, 0) } : {}),
    retryCount: Math.max(0, attempts.length - 1),
  }
  return {
    id: stepResultId(flowId, { path: stepId, iteration, sample }),
    flowId,
    stepId,
    path: stepId,
    iteration,
    sample,
    status: 'SUCCESS',
    requestedModel: 'gpt-5.4',
    output: `Output of ${stepId}`,
    finishReason: 'stop',
    ...known,
    ...(costs.length > 0 && last?.costSource ? { costSource: last.costSource } : {}),
    executionTime: 2345,
    attempts,
    withheld: sharing.filter((decision) => !decision.allowed),
    sharing,
    notes: [],
    startedAt: instant(1, 17),
    completedAt,
    executedAt: completedAt,
    metadata: known,
    simulated: false,
    ...overrides,
  }
}

export function failedResult(flowId: string, stepId: string, overrides: Partial<StepResult> = {}): StepResult {
  const {
    output: _output,
    finishReason: _reason,
    ...result
  } = stepResult(flowId, stepId, { attempts: [failedAttempt(1)], ...overrides })
  return {
    ...result,
    status: 'FAILED',
    error: {
      code: 'PROVIDER_RATE_LIMITED',
      message: 'Too many requests.',
      retryable: true,
      details: { flowId, stepId, attempt: 1 },
    },
  }
}

export function update(seq: number, overrides: Partial<StoredUpdate> = {}): StoredUpdate {
  return {
    seq,
    type: 'step_progress',
    path: 'draft',
    iteration: 1,
    data: { delta: `piece ${seq}` },
    timestamp: instant(seq, seq),
    ...overrides,
  }
}

export function outcome(overrides: Partial<FlowOutcome> = {}): FlowOutcome {
  return {
    status: 'COMPLETED',
    completedAt: instant(60, 1),
    result: {
      final: { path: 'draft', iteration: 1, sample: 0 },
      totalCost: 0.0030625,
      totalTokens: 225,
      usage: { inputTokens: 25, outputTokens: 200, totalTokens: 225, source: 'reported' },
      unpricedSteps: 0,
      totalExecutionTime: 2400,
    },
    simulated: false,
    ...overrides,
  }
}

/** The text as a store that cannot hold NUL or lone surrogates may give it back. */
export const wellFormed = (text: string): string => text.replaceAll('\0', '\uFFFD').replace(/\p{Surrogate}/gu, '\uFFFD')
