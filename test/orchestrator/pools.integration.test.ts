import { afterEach, expect, test } from 'vitest'
import type { FlowExecutionResult } from '../../src/domain/execution/flow-result.ts'
import { createLoopback } from '../support/loopback.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { SSE_HEADERS, sse } from '../support/vendor-server.ts'

const USER = 'ada'
const FLOWS = 100
const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

const chunk = (delta: object, finish_reason: string | null = null) => ({
  id: 'c',
  object: 'chat.completion.chunk',
  model: 'm',
  choices: [{ index: 0, delta, finish_reason }],
})

/** A model server that streams half of an answer and the rest when it is told to. */
async function openModelServer() {
  const open = new Set<() => void>()
  const waiting: (() => void)[] = []
  let requests = 0
  let isReleased = false
  const server = await createLoopback(({ response }) => {
    requests += 1
    response.on('error', () => undefined)
    response.writeHead(200, SSE_HEADERS)
    response.write(sse(chunk({ role: 'assistant', content: 'half ' })))
    const finish = () => {
      const usage = { prompt_tokens: 10, completion_tokens: 2, total_tokens: 12 }
      response.end(sse(chunk({ content: 'whole' }), chunk({}, 'stop'), { ...chunk({}), choices: [], usage }, '[DONE]'))
    }
    if (isReleased) finish()
    else open.add(finish)
    for (const notify of waiting.splice(0)) notify()
  })
  closing.push(server.close)
  return {
    url: server.url,
    requests: () => requests,
    close: server.close,
    async until(count: number): Promise<void> {
      while (requests < count) await new Promise<void>((resolve) => waiting.push(resolve))
    },
    release() {
      isReleased = true
      for (const finish of open) finish()
      open.clear()
    },
  }
}

test('a hundred streaming flows complete although one of three servers dies in the middle of their streams', async () => {
  const servers = { one: await openModelServer(), two: await openModelServer(), three: await openModelServer() }
  const accounts = Object.entries(servers).map(
    ([id, { url }]) => [id, { kind: 'openai-compatible', baseUrl: url } as const] as const,
  )
  const polyphony = await openTestPolyphony({
    providers: Object.fromEntries(accounts),
    pools: { all: { members: Object.keys(servers).map((id) => ({ model: `${id}/m` })), strategy: 'least_connections' } },
    retry: { baseDelayMs: 0 },
  })
  closing.push(polyphony.close)
  const { orchestrator, conversations } = polyphony
  const { id: threadId } = await conversations.createThread(USER, {})

  const started = Array.from({ length: FLOWS }, async (): Promise<FlowExecutionResult> => {
    const steps = [
      { id: 'draft', model: 'pool/all', action: 'generate', prompt: 'Write', fallbackAfterFirstToken: true },
    ] as const
    const { id } = await orchestrator.createFlow(threadId, USER, { name: 'pool', type: 'sequential', steps: [...steps] })
    return orchestrator.executeFlow(id, USER, { input: 'go', streaming: true })
  })
  await Promise.all(Object.values(servers).map(({ until }) => until(30)))
  while (Object.values(servers).reduce((sum, { requests }) => sum + requests(), 0) < FLOWS) {
    await new Promise((resolve) => setImmediate(resolve))
  }
  const cut = servers.two.requests()
  await servers.two.close()
  servers.one.release()
  servers.three.release()

  const results = await Promise.all(started)
  expect(results.filter(({ status }) => status !== 'COMPLETED')).toEqual([])
  const steps = results.flatMap((result) => result.steps)
  expect(steps.filter(({ output }) => output !== 'half whole')).toEqual([])
  expect(new Set(steps.map(({ provider }) => provider))).toEqual(new Set(['one', 'three']))
  // Every extra call is an attempt of the server that died.
  const attempts = steps.flatMap((step) => step.attempts)
  const failed = attempts.filter(({ error }) => error)
  expect(new Set(failed.map(({ provider }) => provider))).toEqual(new Set(['two']))
  expect(failed.filter(({ error }) => error?.code === 'PROVIDER_STREAM_CUT')).toHaveLength(cut)
  expect(attempts).toHaveLength(FLOWS + failed.length)
  // It is left after a few more calls, which cannot connect.
  expect(failed.length - cut).toBeLessThanOrEqual(3)
})
