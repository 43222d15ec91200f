import pg from 'pg'
import { expect, test } from 'vitest'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { openTestPostgres } from '../support/postgres.ts'

test('a flow whose last result the database refuses is not completed, and its caller gets the error', async () => {
  const database = await openTestPostgres()
  const provider = createScriptedProvider({ replies: () => 'unwelcome' })
  const polyphony = await openTestPolyphony({ database: database.url, providers: { scripted: provider } })
  const client = new pg.Client(database.url)
  try {
    await client.connect()
    await client.query(`alter table polyphony_step_results add check (output <> 'unwelcome')`)
    const { id: threadId } = await polyphony.conversations.createThread('user', {})
    const flow = await polyphony.orchestrator.createFlow(threadId, 'user', {
      name: 'one',
      type: 'sequential',
      steps: [{ id: 'only', model: 'scripted/m', action: 'generate', prompt: 'go' }],
    })
    await expect(polyphony.orchestrator.executeFlow(flow.id, 'user', { input: 'x' })).rejects.toMatchObject({
      code: 'INTERNAL',
      details: { sqlState: '23514' },
    })
    const status = await polyphony.orchestrator.getFlowStatus(flow.id)
    expect(status).toMatchObject({ status: 'FAILED', completedSteps: 0 })
  } finally {
    await client.end()
    await polyphony.close()
    await database.drop()
  }
})
