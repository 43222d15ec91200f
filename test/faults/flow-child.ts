import { randomUUID } from 'node:crypto'
import { createPolyphony, type FlowDefinitionInput } from 'polyphony'
import { killDefinitions } from './kill-flows.ts'

/** `<database> <server>`: runs flows of several types, again and again, until it is killed. Tells on stdout what it has been promised. */
const [database = '', server = '', only = ''] = process.argv.slice(2)
const tell = (...words: readonly string[]) => process.stdout.write(`${words.join(' ')}\n`)

const polyphony = await createPolyphony(
  { database, providers: { desk: { kind: 'openai-compatible', baseUrl: `${server}/desk`, apiKey: 'sk-key' } } },
  { env: {}, cwd: '/nonexistent' },
)
tell('open')
const { orchestrator, conversations } = polyphony
const { id: threadId } = await conversations.createThread('ada')

async function runOnce(type: string, definition: (run: string) => FlowDefinitionInput): Promise<void> {
  const run = randomUUID()
  const flow = await orchestrator.createFlow(threadId, 'ada', definition(run))
  tell('flow', type, run, flow.id)
  await orchestrator.executeFlow(flow.id, 'ada', { input: 'the question' })
  tell('done', type, run, flow.id)
}

async function runForever(type: string, definition: (run: string) => FlowDefinitionInput): Promise<void> {
  for (;;) await runOnce(type, definition)
}

await Promise.all(
  Object.entries(killDefinitions)
    .filter(([type]) => only === '' || only === type)
    .map(([type, definition]) => runForever(type, definition)),
)
