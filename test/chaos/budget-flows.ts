import { randomUUID } from 'node:crypto'
import type { Polyphony } from 'polyphony'
import { createLoopback } from '../support/loopback.ts'

/** One flow against whose subjects the calls are billed. */
export interface BudgetJob {
  readonly userId: string
  readonly threadId: string
  readonly apiKeyId: string
  readonly tag: string
  /** Milliseconds after which the caller cancels the flow. */
  readonly cancelAfterMs?: number
}

/** `COMPLETED`, or the code of the error; of LIMIT_EXCEEDED also which limit of which scope. */
export interface BudgetOutcome {
  readonly code: string
  readonly limit?: string
  readonly scope?: string
}

export const PRICE_PER_TOKEN_USD = 0.001
const MAX_TOKENS = 40
/** The prompt is longer than that, so no answer uses more than was reserved. */
const INPUT_TOKENS = 10

/** Part of every prompt of a flow: what the provider bills, and a name of the flow. */
const markOf = ({ userId, threadId, apiKeyId, tag }: BudgetJob): string =>
  `BILL(${userId}|${threadId}|${apiKeyId}|${tag})FLOW(${randomUUID()})`

/** Creates a flow of two calls and runs it to its end. */
export async function runBudgetJob({ orchestrator }: Polyphony, job: BudgetJob): Promise<BudgetOutcome> {
  const mark = markOf(job)
  const flow = await orchestrator.createFlow(job.threadId, job.userId, {
    name: 'two calls',
    type: 'sequential',
    steps: ['first', 'second'].map((id) => ({
      id,
      model: 'desk/m',
      action: 'generate' as const,
      prompt: `Write about the weather of the last ten years in as few words as you can. ${mark}`,
      settings: { maxTokens: MAX_TOKENS },
      maxRetries: 1,
    })),
  })
  const signal = job.cancelAfterMs === undefined ? undefined : AbortSignal.timeout(job.cancelAfterMs)
  const options = { input: 'x', metadata: { team: job.tag }, apiKeyId: job.apiKeyId, ...(signal && { signal }) }
  return orchestrator.executeFlow(flow.id, job.userId, options).then(
    () => ({ code: 'COMPLETED' }),
    ({ code, details }) => ({ code: String(code), limit: details?.limit, scope: details?.scope }),
  )
}

/** What the provider bills under one subject. */
export interface Bill {
  tokens: number
  readonly flows: Set<string>
}

/**
 * A provider that bills every call that it does not refuse, also those whose caller has left: it answers, refuses with
 * 500, closes the connection without a status, or breaks off the answer.
 */
export async function createBillingProvider(random: () => number) {
  const bills = new Map<string, Bill>()
  let calls = 0
  const bill = (subjects: string, flow: string, tokens: number) => {
    for (const subject of subjects.split('|')) {
      const found = bills.get(subject) ?? { tokens: 0, flows: new Set() }
      found.tokens += tokens
      found.flows.add(flow)
      bills.set(subject, found)
    }
  }
  const server = await createLoopback(({ text, response }) => {
    const [, subjects = '', flow = ''] = /BILL\(([^)]*)\)FLOW\(([^)]*)\)/.exec(text) ?? []
    calls++
    const fate = random()
    const output = 1 + Math.floor(random() * MAX_TOKENS)
    if (fate >= 0.1) bill(subjects, flow, INPUT_TOKENS + output)
    setTimeout(
      () => {
        if (fate < 0.1) return void response.writeHead(500).end('{}')
        if (fate < 0.14) return void response.destroy()
        response.writeHead(200, { 'content-type': 'application/json' })
        const answer = JSON.stringify(answerOf(output))
        if (fate >= 0.18) return void response.end(answer)
        response.write(answer.slice(0, 20))
        setTimeout(() => response.destroy(), 5)
      },
      2 + random() * 30,
    )
  })
  return { url: `${server.url}/v1`, bills, calls: () => calls, close: server.close }
}

const answerOf = (output: number) => ({
  id: 'c',
  object: 'chat.completion',
  model: 'm',
  choices: [{ index: 0, message: { role: 'assistant', content: 'sun and rain', refusal: null }, finish_reason: 'stop' }],
  usage: { prompt_tokens: INPUT_TOKENS, completion_tokens: output, total_tokens: INPUT_TOKENS + output },
})
