import { createPolyphony, getFlowTemplate, type ModelRequest } from 'polyphony'
import { type ExampleOptions, logLedger, runDirectly } from './example.ts'
import { questionOf, scriptedVendor } from './scripted-vendor.ts'

const QUESTION = 'When did the first transatlantic telegraph cable carry messages, and why did it fail?'

/** Invented pages, which a vendor's search would return. */
const dates = { kind: 'annotation', title: 'Atlantic cable', url: 'https://example.com/atlantic-cable' } as const
const inquiry = { kind: 'search_result', title: 'Inquiry into the cable', url: 'https://example.org/cable-inquiry' } as const

const isRole = ({ system = '' }: ModelRequest, role: string): boolean => system.includes(role)

const openai = () =>
  scriptedVendor('openai', (request) =>
    isRole(request, 'You plan a research')
      ? '{ "A": "When did the cable carry messages?", "B": "What made the cable fail?" }'
      : { text: `The first message was sent on 16 August 1858. [${dates.url}]`, sources: [dates] },
  )

const anthropic = () =>
  scriptedVendor('anthropic', (request) => {
    if (isRole(request, 'You research')) {
      // Both searches found the page about dates. It gets one number.
      return { text: `About 2,000 volts broke its insulation down. [${inquiry.url}]`, sources: [dates, inquiry] }
    }
    if (isRole(request, 'You write a report')) {
      return 'Its first message is of 16 August 1858 [1].\n2,000 volts broke it down [2].\nSharks had bitten it as well.\n'
    }
    if (isRole(request, 'You check the facts')) {
      // A model would read each statement against its source. The script refuses those that bear no number.
      const [, report = ''] = questionOf(request).split('The report:')
      const refused = report.split('\n').filter((line) => line.endsWith('.') && !/\[\d\]/.test(line))
      return `${refused.map((line) => `"${line}": refused, it bears no number.\n`).join('')}Refused: ${refused.length}`
    }
    const listed = questionOf(request).match(/^\[\d\] .*$/gm) ?? []
    return `## Answer\nFrom 16 August 1858 [1], until 2,000 volts broke it down [2].\n\n## Sources\n${listed.join('\n')}`
  })

/** Two vendors search the web. Every page that they found is kept, and statements without one are refused. */
export async function main({ log = console.log, real = false }: ExampleOptions = {}) {
  const vendors = real ? {} : { providers: { openai: openai(), anthropic: anthropic() } }
  const polyphony = await createPolyphony({ database: 'memory://', ...vendors })
  const { orchestrator, conversations, dataSharing } = polyphony
  await dataSharing.set('ada', 'anthropic', { allowCrossProviderContext: true })
  const thread = await conversations.createThread('ada')
  const flow = await orchestrator.createFlow(thread.id, 'ada', getFlowTemplate('research'))
  const result = await orchestrator.executeFlow(flow.id, 'ada', { input: QUESTION })

  const outputs = Object.fromEntries(result.steps.map(({ stepId, output }) => [stepId, output ?? '']))
  log(`The report:\n${outputs.report}\n\nThe fact check:\n${outputs.check}\n`)
  log(result.finalOutput ?? '')
  // What the vendors returned beside their texts is stored with each step, whatever the models write.
  const sources = [...new Set(result.steps.flatMap(({ sources = [] }) => sources.flatMap(({ url = [] }) => url)))]
  log(`\nSources found:\n${sources.map((url, index) => `[${index + 1}] ${url}`).join('\n')}\n`)
  logLedger(result, log)
  await polyphony.close()
  return { result, outputs, sources }
}

await runDirectly(import.meta.url, main)
