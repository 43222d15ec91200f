import { beforeEach, expect, test } from 'vitest'
import type { StartRequest } from '../../src/orchestrator/runs/run-input.ts'
import { createRunRegistry, type Run, type RunRegistry } from '../../src/orchestrator/runs/run-registry.ts'
import { createParser } from '../../src/polyphony.ts'

const definition = createParser().parse({
  name: 'one',
  type: 'sequential',
  steps: [{ id: 'a', provider: 'openai', model: 'gpt-5.4', action: 'generate', prompt: 'original' }],
})

const request = (flowId: string): StartRequest => ({
  flow: {
    id: flowId,
    threadId: 'thread',
    userId: 'ada',
    name: 'one',
    flowType: 'sequential',
    definition: { hash: 'hash', json: '{}', isData: true },
    status: 'PENDING',
    createdAt: new Date(0),
    ownerEpoch: 0,
    simulated: false,
  },
  definition,
  input: { text: 'Hello', attachments: [] },
  options: { streaming: false, saveMessages: false, metadata: {} },
})

const REASON = new Error('enough')
const never = () => new Promise<never>(() => {})

/** Work that ends when it is released. */
function held(): { readonly work: () => Promise<void>; readonly release: () => void } {
  let release = () => {}
  const done = new Promise<void>((resolve) => {
    release = resolve
  })
  return { work: () => done, release: () => release() }
}

let registry: RunRegistry

beforeEach(() => {
  registry = createRunRegistry()
})

test('a claimed flow is found until it is removed, and cannot be claimed or detached a second time', () => {
  const run = registry.claim(request('flow'))
  expect(run?.state).toBe('claimed')
  expect(registry.claim(request('flow'))).toBeUndefined()
  expect(registry.detach(request('flow'), never)).toBeUndefined()
  if (run) registry.remove(run)
  expect(registry.find('flow')).toBeUndefined()
})

test('the engine drives a claimed run with its request and its token, and the run is gone when it has ended', async () => {
  const run = registry.claim(request('flow'))
  const { work, release } = held()
  void registry.drive({ flowId: 'flow', epoch: 3 }, work)
  expect(registry.find('flow')).toBe(run)
  expect(run).toMatchObject({ state: 'running', epoch: 3 })
  expect(registry.countDriven()).toBe(1)
  release()
  await run?.done
  expect(registry.find('flow')).toBeUndefined()
})

test('a flow that is cancelled while it is claimed is driven with a token that is cancelled already', async () => {
  registry.claim(request('flow'))
  const cancelled = registry.cancel('flow', REASON)
  const reasons: unknown[] = []
  void registry.drive({ flowId: 'flow', epoch: 1 }, async (_, { reason }) => {
    await new Promise(setImmediate)
    reasons.push(reason)
  })
  expect(await cancelled).toBe(true)
  expect(reasons).toEqual([REASON])
})

test('a flow that is cancelled while it is claimed, and is queued or refused, is not ended by this process', async () => {
  const ends = [(run: Run) => registry.queued(run), (run: Run) => registry.remove(run)]
  for (const end of ends) {
    const run = registry.claim(request('flow'))
    if (!run) throw new Error('Expected a free flow.')
    const cancelled = Promise.all([registry.cancel('flow', REASON), registry.cancel('flow', REASON)])
    end(run)
    expect(await cancelled).toEqual([false, false])
    expect(run.cancellation.reason).toBe(REASON)
    registry.remove(run)
  }
})

test('cancel reaches a detached run from its first instant and resolves when its work has ended, also with an error', async () => {
  const events: string[] = []
  const result = registry.detach(request('flow'), async ({ cancellation }) => {
    await new Promise(setImmediate)
    events.push(`work sees ${cancellation.cancelled}`)
    throw cancellation.reason
  })
  const rejected = expect(result).rejects.toBe(REASON)
  expect(await registry.cancel('flow', REASON)).toBe(true)
  events.push('cancelled')
  expect(events).toEqual(['work sees true', 'cancelled'])
  await rejected
  expect(registry.find('flow')).toBeUndefined()
})

test('a detached run counts as no flow of the engine', async () => {
  const { work, release } = held()
  const result = registry.detach(request('flow'), work)
  expect(registry.countDriven()).toBe(0)
  release()
  await result
})

test('cancelling a flow that this process does not run resolves with false', async () => {
  expect(await registry.cancel('elsewhere', REASON)).toBe(false)
})

test('the end of a run leaves the next run of the same flow registered', async () => {
  const [first, second] = [held(), held()]
  void registry.drive({ flowId: 'flow', epoch: 1 }, first.work)
  const ended = registry.find('flow')?.done
  void registry.drive({ flowId: 'flow', epoch: 2 }, second.work)
  expect(registry.findDriven({ flowId: 'flow', epoch: 1 })?.done).toBe(ended)
  expect(registry.findDriven({ flowId: 'flow', epoch: 2 })?.epoch).toBe(2)
  first.release()
  await ended
  expect(registry.find('flow')?.epoch).toBe(2)
  expect(registry.findDriven({ flowId: 'flow', epoch: 1 })).toBeUndefined()
  expect(registry.countDriven()).toBe(1)
  second.release()
})

test('cancelAll cancels claimed, running and detached runs and resolves when none is running', async () => {
  const claimed = registry.claim(request('claimed'))
  const [driven, detached] = [held(), held()]
  void registry.drive({ flowId: 'driven', epoch: 1 }, (_, token) => {
    token.add(abortWith(driven.release))
    return driven.work()
  })
  const result = registry.detach(request('detached'), ({ cancellation }) => {
    cancellation.add(abortWith(detached.release))
    return detached.work()
  })
  await registry.cancelAll(REASON)
  expect(claimed?.cancellation.reason).toBe(REASON)
  expect(registry.countDriven()).toBe(0)
  await result
  expect(registry.find('detached')).toBeUndefined()
})

function abortWith(onAbort: () => void): AbortController {
  const controller = new AbortController()
  controller.signal.addEventListener('abort', onAbort)
  return controller
}
