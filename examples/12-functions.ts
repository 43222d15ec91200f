import { createPolyphony, createScriptedProvider, defineFunction } from 'polyphony'
import * as z from 'zod'
import { type ExampleOptions, runDirectly } from './example.ts'

const prices: Readonly<Record<string, number>> = { A7: 12.5, B2: 3 }

const lookupPrice = defineFunction({
  description: 'Price of an article in US dollars',
  input: z.object({ sku: z.string(), amount: z.number().int().positive() }),
  output: z.object({ total: z.number() }),
  idempotent: true,
  run: ({ sku, amount }) => ({ total: (prices[sku] ?? 0) * amount }),
})

/** A model reads an order, a function computes its price, and a condition that is registered by name decides. */
export async function main({ log = console.log }: ExampleOptions = {}) {
  const reader = createScriptedProvider({ id: 'reader', replies: ['{ "sku": "A7", "amount": 4 }', 'Please approve 50 dollars.'] })
  const polyphony = await createPolyphony({
    database: 'memory://',
    providers: { reader },
    functions: { lookupPrice, isExpensive: ({ allStepResults }) => allStepResults.at(-1)?.parsed?.total > 40 },
  })
  const { orchestrator, conversations, dataSharing } = polyphony
  await dataSharing.set('ada', 'reader', { allowCrossProviderContext: true })
  const thread = await conversations.createThread('ada')
  const flow = await orchestrator.createFlow(thread.id, 'ada', {
    name: 'price of an order',
    type: 'sequential',
    steps: [
      {
        id: 'read',
        model: 'reader/m',
        action: 'extract',
        prompt: 'original',
        outputSchema: z.object({ sku: z.string(), amount: z.number() }),
      },
      {
        id: 'price',
        model: 'function/lookupPrice',
        action: 'run',
        // A text that is one output keeps the type of its value: `amount` is a number.
        arguments: { sku: '{{ steps.read.parsed.sku }}', amount: '{{ steps.read.parsed.amount }}' },
      },
      {
        id: 'ask',
        model: 'reader/m',
        action: 'generate',
        prompt: 'Ask for approval of {{ steps.price.parsed.total }} dollars',
        condition: { function: 'isExpensive' },
      },
    ],
  })
  const result = await orchestrator.executeFlow(flow.id, 'ada', { input: 'Four of A7, please.' })
  log(`price: ${result.steps[1]?.output}, cost of the call: ${result.steps[1]?.cost} (${result.steps[1]?.costSource})`)
  log(`${result.status}: ${result.finalOutput}`)
  await polyphony.close()
  return result
}

await runDirectly(import.meta.url, main)
