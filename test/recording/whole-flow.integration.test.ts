import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import type { PolyphonyConfigInput } from '../../src/config/config.ts'
import type { FlowExecutionResult } from '../../src/domain/execution/flow-result.ts'
import type { FlowUpdate } from '../../src/domain/execution/flow-update.ts'
import { createCritiqueFlow } from '../../templates/index.ts'
import { chatWire } from '../support/openai-wires.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { createVendorServer, SSE_HEADERS, sse, type VendorServer } from '../support/vendor-server.ts'

const KEY = 'sk-a-key-that-must-not-be-kept'
const USER = 'ada'
const VERDICT = '{"score": 0.2, "approved": false, "issues": ["it lacks a reason"], "suggestions": []}'

let vendor: VendorServer | undefined
let directory: string | undefined

afterEach(async () => {
  await vendor?.close()
  if (directory) rmSync(directory, { recursive: true, force: true })
})

const flow = () =>
  createCritiqueFlow({
    generator: { provider: 'writer', model: 'gpt-a' },
    critic: [{ provider: 'critic', model: 'gpt-b' }],
    refiner: { provider: 'writer', model: 'gpt-a' },
  })

const providersAt = (baseUrl: string): PolyphonyConfigInput['providers'] => {
  const account = { kind: 'openai-compatible', baseUrl, apiKey: KEY, headers: { 'x-team': 'a-secret-team-name' } } as const
  return { writer: account, critic: account }
}

/** Runs the flow for a user who allows the sharing that it needs. */
async function runOnce(config: PolyphonyConfigInput) {
  const polyphony = await openTestPolyphony(config)
  try {
    for (const provider of ['writer', 'critic']) {
      await polyphony.dataSharing.set(USER, provider, { allowCrossProviderContext: true })
    }
    const thread = await polyphony.conversations.createThread(USER, { title: 'Sky' })
    const { id } = await polyphony.orchestrator.createFlow(thread.id, USER, flow())
    const updates: FlowUpdate[] = []
    const result = await polyphony.orchestrator.executeFlow(id, USER, {
      input: 'Why is the sky blue?',
      streaming: true,
      onUpdate: (update) => updates.push(update),
    })
    const usage = await polyphony.usage.report(USER)
    return { threadId: thread.id, result, updates, usage }
  } finally {
    await polyphony.close()
  }
}

const TIMES = new Set(['startedAt', 'completedAt', 'executedAt', 'executionTime', 'totalExecutionTime', 'createdAt', 'timestamp'])

/** Everything but the times, which are those of the replay. */
const withoutTimes = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value, (name, member) => (TIMES.has(name) ? undefined : member)))

const textOf = (updates: readonly FlowUpdate[]): readonly unknown[] =>
  updates.flatMap((update): readonly unknown[] => {
    if (update.type === 'step_progress') return [{ step: update.stepId, ...update.data }]
    return update.type === 'step_retry' ? [{ step: update.stepId, code: update.data.error.code }] : []
  })

const stepOf = ({ steps }: FlowExecutionResult, stepId: string) => steps.find((step) => step.stepId === stepId)

/** A stream that breaks off after its first words. */
const cutStream = {
  headers: SSE_HEADERS,
  body: sse({
    id: 'chatcmpl-1',
    object: 'chat.completion.chunk',
    model: 'answering-model',
    choices: [{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null }],
    usage: null,
  }),
  after: 'drop',
} as const

test('a critique with a 429 and a cut stream is replayed to the same ids, ledger and totals, without server and key', async () => {
  vendor = await createVendorServer()
  directory = mkdtempSync(join(tmpdir(), 'polyphony-recording-'))
  vendor.answer(
    { status: 429, headers: { 'retry-after-ms': '5' }, body: { error: { message: 'slow down', type: 'rate_limit' } } },
    chatWire.streamed(['The sky ', 'is blue.']),
    cutStream,
    chatWire.streamed([VERDICT.slice(0, 20), VERDICT.slice(20)]),
    chatWire.streamed(['The sky is blue ', 'because of scattering.']),
  )
  const prices = {
    'writer/gpt-a': { inputPerMillion: 3, outputPerMillion: 15 },
    'critic/gpt-b': { inputPerMillion: 1, outputPerMillion: 5 },
  }
  const retry = { baseDelayMs: 1 }
  const recorded = await runOnce({ record: directory, providers: providersAt(vendor.url), prices, retry })
  expect(vendor.requests).toHaveLength(5)
  expect(stepOf(recorded.result, 'draft')?.attempts.map(({ error }) => error?.code)).toEqual(['PROVIDER_RATE_LIMITED', undefined])
  expect(stepOf(recorded.result, 'critique')?.attempts.map(({ error }) => error?.code)).toEqual([
    'PROVIDER_STREAM_CUT',
    undefined,
  ])
  expect(recorded.result.totalCost).toBeGreaterThan(0)
  await vendor.close()

  // Neither providers nor prices are configured.
  const replayed = await runOnce({ replay: directory })

  expect(replayed.threadId).toBe(recorded.threadId)
  expect(withoutTimes(replayed.result)).toEqual(withoutTimes(recorded.result))
  expect(textOf(replayed.updates)).toEqual(textOf(recorded.updates))
  expect(withoutTimes(replayed.usage)).toEqual(withoutTimes(recorded.usage))

  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  const text = files.map(({ parentPath, name }) => readFileSync(join(parentPath, name), 'utf8')).join('')
  expect(files).toHaveLength(6)
  for (const secret of [KEY, 'a-secret-team-name', 'authorization', vendor.url]) expect(text).not.toContain(secret)
})
