import type { FlowDefinitionInput, ModelRequest, Polyphony, WaitingStep } from 'polyphony'
import { createPolyphony, defineFunction } from 'polyphony'
import * as z from 'zod'
import { type ExampleOptions, logLedger, runDirectly } from './example.ts'
import { createPdf, linesOfPdf } from './pdf.ts'
import { scriptedVendor } from './scripted-vendor.ts'

const invoice = z.object({ number: z.string(), net: z.number(), tax: z.number(), total: z.number() })
const fields = invoice.keyof().options
type Invoice = z.infer<typeof invoice>

const compareReadings = defineFunction({
  description: 'Names the fields that two readings of an invoice differ in',
  input: z.object({ first: invoice, second: invoice }),
  idempotent: true,
  run: ({ first, second }) => ({
    differences: fields.flatMap((key) => (first[key] === second[key] ? [] : `${key}: ${first[key]} or ${second[key]}`)),
  }),
})

const checkSum = defineFunction({
  description: 'Adds net and tax in cents and compares the sum with the total',
  input: z.object({ invoice }),
  idempotent: true,
  run: ({ invoice: { net, tax, total } }) => ({ ok: Math.round(net * 100) + Math.round(tax * 100) === Math.round(total * 100) }),
})

const read = { action: 'extract', prompt: 'original', outputSchema: invoice } as const

const readInvoice: FlowDefinitionInput = {
  name: 'read an invoice',
  type: 'graph',
  steps: [
    { id: 'first', model: 'openai/gpt-6-sol', ...read },
    { id: 'second', model: 'anthropic/claude-opus-5-5', ...read },
    {
      id: 'compare',
      model: 'function/compareReadings',
      action: 'run',
      arguments: { first: '{{ steps.first.parsed }}', second: '{{ steps.second.parsed }}' },
    },
    // A text that is one output keeps the type of its value: an object with numbers.
    { id: 'sum', model: 'function/checkSum', action: 'run', arguments: { invoice: '{{ steps.first.parsed }}' } },
    {
      id: 'decision',
      action: 'approve',
      dependsOn: ['first', 'compare', 'sum'],
      condition: 'size(steps.compare.parsed.differences) > 0 || !steps.sum.parsed.ok',
      approval: {
        prompt:
          'Which values are right?{% for difference in steps.compare.parsed.differences %} {{ difference }}.{% endfor %}{% unless steps.sum.parsed.ok %} The sum is wrong.{% endunless %}',
        show: '{{ steps.first.output }}',
        schema: invoice,
      },
    },
    {
      id: 'book',
      model: 'function/book',
      action: 'run',
      dependsOn: ['decision'],
      condition: 'steps.decision.status == "SKIPPED" || steps.decision.parsed.approved',
      arguments: { invoice: '{{ steps.decision.parsed.data | default: steps.first.parsed }}' },
    },
  ],
}

/** Reads the file that came with the request, in place of a model that reads PDFs. */
async function readPdf({ messages }: ModelRequest): Promise<Invoice> {
  const [file] = messages.flatMap((message) => (message.role === 'user' ? (message.files ?? []) : []))
  const text = file ? linesOfPdf(await file.read()).join(' ') : ''
  const [, number = '', ...sums] = /Invoice (\S+) Net (\S+) Tax (\S+) Total (\S+)/.exec(text) ?? []
  const [net = 0, tax = 0, total = 0] = sums.map(Number)
  return { number, net, tax, total }
}

const reader = (id: string, see: (printed: Invoice) => Invoice) =>
  scriptedVendor(id, async (request) => ({ text: JSON.stringify(see(await readPdf(request))) }))

/** The accounting department, another part of the program: it answers the questions of a flow until the flow ends. */
async function accounting({ orchestrator }: Polyphony, flowId: string, paper: Invoice, log: (line: string) => void) {
  const questions: WaitingStep[] = []
  for await (const update of orchestrator.streamFlow(flowId, 'ada')) {
    if (update.type !== 'flow_paused') continue
    for (const question of await orchestrator.listWaiting('ada', { flowId })) {
      questions.push(question)
      const answer = paper.net + paper.tax === paper.total ? { approved: true, data: paper } : { approved: false }
      log(`${question.prompt}\n  first reading: ${question.show}\n  answer: ${JSON.stringify(answer)}`)
      await orchestrator.signal(flowId, 'ada', question.path, { ...answer, hash: question.hash })
    }
  }
  return questions
}

/** Two vendors read a PDF. What both read is booked; where they differ, a person says what is right. */
export async function main({ log = console.log, real = false }: ExampleOptions = {}) {
  const booked: Invoice[] = []
  const book = defineFunction({ input: z.object({ invoice }), run: ({ invoice }) => ({ entry: booked.push(invoice) }) })
  const openai = reader('openai', (printed) => printed)
  const anthropic = reader('anthropic', (printed) => (printed.number === 'B-8' ? { ...printed, total: 179 } : printed))
  const polyphony = await createPolyphony({
    database: 'memory://',
    ...(!real && { providers: { openai, anthropic } }),
    functions: { compareReadings, checkSum, book },
  })
  const { orchestrator, conversations, dataSharing } = polyphony
  for (const vendor of ['openai', 'anthropic']) await dataSharing.set('ada', vendor, { allowAttachments: true })
  const thread = await conversations.createThread('ada')

  async function process(paper: Invoice) {
    const { number, net, tax, total } = paper
    const data = createPdf(['ACME Paper Ltd.', `Invoice ${number}`, `Net ${net}`, `Tax ${tax}`, `Total ${total}`])
    const flow = await orchestrator.createFlow(thread.id, 'ada', readInvoice)
    const attachments = [{ name: `${number}.pdf`, data }]
    const ended = orchestrator.executeFlow(flow.id, 'ada', { input: 'Read the invoice.', attachments })
    const questions = await accounting(polyphony, flow.id, paper, log)
    const result = await ended
    log(`${number}: ${result.status}, ${booked.some((entry) => entry.number === number) ? 'booked' : 'not booked'}`)
    logLedger(result, log)
    return { questions, result }
  }
  const clear = await process({ number: 'A-7', net: 100, tax: 19, total: 119 })
  const misread = await process({ number: 'B-8', net: 100, tax: 19, total: 119 })
  const wrong = await process({ number: 'C-9', net: 100, tax: 19, total: 120 })
  await polyphony.close()
  return { clear, misread, wrong, booked }
}

await runDirectly(import.meta.url, main)
