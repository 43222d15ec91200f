import type { FlowDefinitionInput, ModelRequest, Polyphony, WaitingStep } from 'polyphony'
import { createPolyphony, defineFunction } from 'polyphony'
import * as z from 'zod'
import { type ExampleOptions, logLedger, runDirectly } from './example.ts'
import { scriptedVendor } from './scripted-vendor.ts'

const orders: Readonly<Record<string, { item: string; paid: number }>> = {
  'A-7': { item: 'Kettle', paid: 39.9 },
  'B-8': { item: 'Piano', paid: 4_900 },
}

const lookUpOrder = defineFunction({
  description: 'An order by its number',
  input: z.object({ order: z.string() }),
  idempotent: true,
  run: ({ order }) => orders[order] ?? { error: 'no such order' },
})

const support: FlowDefinitionInput = {
  name: 'support',
  type: 'sequential',
  steps: [
    {
      id: 'agent',
      model: 'openai/gpt-6-sol',
      action: 'generate',
      prompt: 'original',
      system: 'You answer customers of a shop. Look the order up before you refund it, and say only what the tools confirmed.',
      tools: ['function/lookUpOrder', 'function/refund'],
      maxTurns: 5,
    },
  ],
}

/** Plays the model: it looks the order up, asks for the refund of what was paid, and says what came of it. */
function agent({ messages }: ModelRequest) {
  const call = (name: string, given: object) => ({
    text: '',
    toolCalls: [{ id: `call_${messages.length}`, name, arguments: JSON.stringify(given) }],
  })
  const [question] = messages
  const order = question?.content.match(/[A-Z]-\d/)?.[0] ?? ''
  const last = messages.at(-1)
  if (last?.role !== 'tool') return call('lookUpOrder', { order })
  if (last.toolName === 'lookUpOrder') return call('refund', { order, amount: JSON.parse(last.content).paid })
  return last.isError ? `I could not refund order ${order}: ${last.content}` : `Order ${order} is refunded: ${last.content}`
}

type Decide = (call: { order: string; amount: number }) => boolean

/** The supervisor, another part of the program: sees each call that waits, with its arguments, and decides about it. */
async function supervise({ orchestrator }: Polyphony, flowId: string, decide: Decide, log: (line: string) => void) {
  const asked: WaitingStep[] = []
  for await (const update of orchestrator.streamFlow(flowId, 'ada')) {
    if (update.type === 'tool_result') log(`  result of ${update.data.tool}: ${update.data.output}`)
    if (update.type !== 'flow_paused') continue
    for (const call of await orchestrator.listWaiting('ada', { flowId })) {
      const approved = decide(JSON.parse(call.show ?? ''))
      asked.push(call)
      log(`  ${call.prompt} ${call.show?.replace(/\s+/g, ' ')} -> ${approved ? 'approved' : 'rejected'}`)
      await orchestrator.signal(flowId, 'ada', call.path, { approved, hash: call.hash })
    }
  }
  return asked
}

/** An agent that may look orders up by itself, and refunds only what a person approves, call by call. */
export async function main({ log = console.log, real = false }: ExampleOptions = {}) {
  const refunds: { order: string; amount: number; key: string }[] = []
  const refund = defineFunction({
    description: 'Pays an amount of an order back',
    input: z.object({ order: z.string(), amount: z.number().positive() }),
    approval: true,
    run: ({ order, amount }, { idempotencyKey: key }) =>
      `refund ${refunds.push({ order, amount, key })} of $${amount} is under way`,
  })
  const polyphony = await createPolyphony({
    database: 'memory://',
    ...(!real && { providers: { openai: scriptedVendor('openai', agent) } }),
    functions: { lookUpOrder, refund },
  })
  const { orchestrator, conversations } = polyphony

  async function serve(question: string) {
    const thread = await conversations.createThread('ada')
    const flow = await orchestrator.createFlow(thread.id, 'ada', support)
    log(question)
    const ended = orchestrator.executeFlow(flow.id, 'ada', { input: question })
    const refundedBefore: number[] = []
    const decide: Decide = ({ amount }) => {
      refundedBefore.push(refunds.length)
      return amount <= 100
    }
    const asked = await supervise(polyphony, flow.id, decide, log)
    const result = await ended
    log(result.finalOutput ?? '')
    logLedger(result, log)
    return { asked, refundedBefore, result }
  }
  const kettle = await serve('Please refund order A-7, the kettle leaks.')
  const piano = await serve('Please refund order B-8, I do not play any more.')
  await polyphony.close()
  return { kettle, piano, refunds }
}

await runDirectly(import.meta.url, main)
