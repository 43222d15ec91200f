import { Client } from 'pg'
import { expect, onTestFinished, test } from 'vitest'
import type { FlowDefinitionInput } from '../../src/domain/definition/flow-definition.ts'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { step } from '../support/flows.ts'
import { codeBlocks, readMarkdown } from '../support/markdown.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { openTestPostgres } from '../support/postgres.ts'

const statements = codeBlocks(readMarkdown('docs/operations.md'))
  .filter(({ language }) => language === 'sql')
  .map(({ code }) => code)
const prompt = () => 'from a function'
const HELD = { name: 'Held', version: '2', type: 'sequential', steps: [step('first', { prompt })] } as const
const PAUSED = {
  name: 'Paused',
  version: '1',
  type: 'sequential',
  steps: [{ id: 'ok', action: 'approve', approval: { prompt: 'Is it fine?' } }, step('last', { prompt })],
} as const

test('the statements of the page count running, queued and paused flows, and those that need a registered version', async () => {
  const { url, drop } = await openTestPostgres()
  onTestFinished(drop)
  const client = new Client({ connectionString: url })
  const provider = createScriptedProvider({ replies: [{ text: 'half of it', hang: true }] })
  const polyphony = await openTestPolyphony({ database: url, providers: { scripted: provider }, maxRunningFlows: 1 })
  onTestFinished(() => polyphony.close())
  const { orchestrator, conversations } = polyphony
  for (const definition of [HELD, PAUSED]) orchestrator.registerFlow(definition)
  const start = async (definition: FlowDefinitionInput): Promise<string> => {
    const thread = await conversations.createThread('ada')
    const { id } = await orchestrator.createFlow(thread.id, 'ada', definition)
    await orchestrator.startFlow(id, 'ada', { input: 'go' })
    return id
  }
  const paused = await start(PAUSED)
  await expect.poll(async () => (await orchestrator.getFlowStatus(paused)).status).toBe('PAUSED')
  await start(HELD)
  await expect.poll(() => provider.requests.length).toBe(1)
  await start(HELD)
  await start({ name: 'Data', type: 'sequential', steps: [step('first')] })

  await client.connect()
  onTestFinished(() => client.end())
  const answers: unknown[] = []
  for (const statement of statements) answers.push((await client.query(statement)).rows)
  expect(answers).toEqual([
    [{ running: '1', queued: '2', paused: '1', longest_wait: expect.anything() }],
    [
      { requires: 'Held@2', running: '1', queued: '1', paused: '0' },
      { requires: 'Paused@1', running: '0', queued: '0', paused: '1' },
    ],
  ])
  // The health of a process without registrations lists only what is queued.
  const other = await openTestPolyphony({ database: url, takesFlows: false })
  onTestFinished(() => other.close())
  expect((await other.engineHealth()).unrunnable).toEqual([{ name: 'Held', version: '2', flows: 1 }])
})
