import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { FlowDefinitionInput, FlowStepInput } from '../../src/domain/definition/flow-definition.ts'
import type { FlowUpdate } from '../../src/domain/execution/flow-update.ts'
import type { Polyphony } from '../../src/polyphony.ts'
import { createLoopback, type Loopback } from '../support/loopback.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { inParallel, rejectionOf, unlessHung, watchProcess } from './observation.ts'
import { answerWell, JSON_TYPE, SSE, WIRES, type Wire } from './vendor-wires.ts'

const USER = 'ada'
const MAX_TOKENS = 200
const BRANCHES = 10
/** US dollars per token at the server and in the price list of the test. */
const INPUT_USD = 2e-6
const OUTPUT_USD = 8e-6
const PROMPT = 'Say something that takes a varying number of words, and do not stop before you have said all of it. '.repeat(3)
const observed = watchProcess()

interface Bill {
  tokens: number
  costUsd: number
  calls: number
}

let server: Loopback
let polyphony: Polyphony
const bills = new Map<string, Bill>()
/** Runs whose next calls end in the middle of their answer. */
const cutting = new Set<string>()
let seed = 7

function random(): number {
  seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff
  return (seed >> 8) / (1 << 23)
}

beforeAll(async () => {
  server = await createLoopback(({ endpoint, path, text, body, response }) => {
    const wire = WIRES.find(({ name }) => name.replace(' ', '-') === endpoint)
    const [, run = ''] = /RUN\(([^)]*)\)/.exec(text) ?? []
    const bill = bills.get(run)
    if (!wire || !bill) return response.writeHead(410).end()
    // Even the cheapest answers of all branches together are more than any limit below allows.
    const usage = { input: 20 + Math.floor(random() * 20), output: MAX_TOKENS / 2 + Math.floor((random() * MAX_TOKENS) / 2) }
    bill.calls++
    // A vendor bills what it began, also where nobody waits for the answer any more.
    bill.tokens += usage.input + usage.output
    bill.costUsd += usage.input * INPUT_USD + usage.output * OUTPUT_USD
    const streamed = wire.isStreamed(path, body)
    setTimeout(() => {
      if (!cutting.has(run) || random() < 0.6) return answerWell(wire, streamed, response, 'words', usage)
      const whole = JSON.stringify(wire.whole('words', usage))
      response.writeHead(200, streamed ? SSE : JSON_TYPE)
      return response.write(streamed ? wire.opening('wor').join('') : whole.slice(0, -5), () => response.socket?.destroy())
    }, random() * 10)
    return undefined
  })
  const providers = Object.fromEntries(
    WIRES.map(({ name, settings }) => [name.replace(' ', '-'), settings(`${server.url}/${name.replace(' ', '-')}`, 'sk-key')]),
  )
  const prices = Object.fromEntries(
    WIRES.map(({ name, model }) => [
      `${name.replace(' ', '-')}/${model}`,
      { inputPerMillion: INPUT_USD * 1e6, outputPerMillion: OUTPUT_USD * 1e6 },
    ]),
  )
  // Answers name the model `m`, whatever was asked for.
  prices['google/m'] = { inputPerMillion: INPUT_USD * 1e6, outputPerMillion: OUTPUT_USD * 1e6 }
  polyphony = await openTestPolyphony({ providers, prices, retry: { baseDelayMs: 1 } })
})
afterAll(async () => {
  await polyphony.close()
  await server.close()
})

function branches(run: string, wire: Wire, more: Partial<FlowStepInput> = {}): readonly FlowStepInput[] {
  return Array.from({ length: BRANCHES }, (_, index) => ({
    id: `s${index}`,
    provider: wire.name.replace(' ', '-'),
    model: wire.model,
    action: 'generate' as const,
    system: `RUN(${run})`,
    prompt: PROMPT,
    settings: { maxTokens: MAX_TOKENS },
    ...more,
  }))
}

async function start(run: string, definition: FlowDefinitionInput, streaming: boolean) {
  const bill: Bill = { tokens: 0, costUsd: 0, calls: 0 }
  bills.set(run, bill)
  const { id } = await polyphony.conversations.createThread(USER, {})
  const flow = await polyphony.orchestrator.createFlow(id, USER, definition)
  const updates: FlowUpdate[] = []
  const execute = () =>
    unlessHung(
      polyphony.orchestrator.executeFlow(flow.id, USER, {
        input: 'the question',
        streaming,
        onUpdate: (update) => updates.push(update),
      }),
      run,
    )
  return { bill, flowId: flow.id, execute, updates }
}

const CASES = WIRES.flatMap((wire) =>
  [false, true].flatMap((streaming) => [1, 2, 3].map((round) => ({ wire, streaming, round }))),
)
const EPSILON = 1e-12

describe('parallel branches under a limit', () => {
  test('parallel branches never use more tokens at the server than maxTokens, and completed steps are kept', {
    timeout: 60_000,
  }, async () => {
    const ends = { completed: 0, exceeded: 0 }
    await inParallel(CASES, 6, async ({ wire, streaming, round }) => {
      const run = `tokens ${wire.name} ${streaming} ${round}`
      const maxTokens = 330 * round
      const definition = { name: 'x', type: 'parallel' as const, limits: { maxTokens }, steps: [...branches(run, wire)] }
      const { bill, flowId, execute } = await start(run, definition, streaming)
      const error = await rejectionOf(execute())
      expect(error).toMatchObject({ code: 'LIMIT_EXCEEDED', details: { limit: 'maxTokens', max: maxTokens } })
      expect(bill.tokens).toBeLessThanOrEqual(maxTokens)
      ends.exceeded++
      const kept = (await polyphony.orchestrator.getFlow(flowId, USER)).stepResults.filter(({ status }) => status === 'SUCCESS')
      expect(kept.length).toBeGreaterThan(0)
      expect(kept.length).toBeLessThanOrEqual(bill.calls)
      ends.completed += kept.length
    })
    expect(ends.exceeded).toBe(CASES.length)
    expect(ends.completed).toBeGreaterThan(CASES.length)
    expect(observed.rejections).toEqual([])
  })

  test('parallel branches never cost more at the server than maxCostUsd, including samples, retries and broken calls', {
    timeout: 60_000,
  }, async () => {
    await inParallel(CASES, 6, async ({ wire, streaming, round }) => {
      const run = `cost ${wire.name} ${streaming} ${round}`
      if (round > 1) cutting.add(run)
      const maxCostUsd = 0.003 * round
      const definition = {
        name: 'x',
        type: 'parallel' as const,
        limits: { maxCostUsd },
        steps: [...branches(run, wire, round === 3 ? { samples: 2 } : {})],
      }
      const { bill, execute } = await start(run, definition, streaming)
      const { code } = await rejectionOf(execute())
      expect(round === 1 ? ['LIMIT_EXCEEDED'] : ['LIMIT_EXCEEDED', 'PROVIDER_UNAVAILABLE', 'PROVIDER_STREAM_CUT']).toContain(code)
      expect(bill.costUsd).toBeLessThanOrEqual(maxCostUsd + EPSILON)
      expect(bill.calls).toBeGreaterThan(0)
    })
    expect(observed.rejections).toEqual([])
  })

  test('parallel branches count earlier spending when the flow is executed again', { timeout: 60_000 }, async () => {
    const problems: unknown[] = []
    await inParallel(CASES, 6, async ({ wire, streaming, round }) => {
      const run = `again ${wire.name} ${streaming} ${round}`
      if (round > 1) cutting.add(run)
      const maxCostUsd = 0.004
      const definition = { name: 'x', type: 'parallel' as const, limits: { maxCostUsd }, steps: [...branches(run, wire)] }
      const { bill, execute } = await start(run, definition, streaming)
      for (let round = 0; round < 4; round++) await execute().catch(() => undefined)
      if (bill.costUsd > maxCostUsd + EPSILON) problems.push([run, bill.costUsd])
    })
    expect(problems).toEqual([])
  })
})
