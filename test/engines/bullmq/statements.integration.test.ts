import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { expect, onTestFinished, test, vi } from 'vitest'
import type { PolyphonyConfigInput } from '../../../src/config/config.ts'
import { createScriptedProvider } from '../../../src/providers/scripted.ts'
import { step } from '../../support/flows.ts'
import { openTestPolyphony } from '../../support/polyphony.ts'
import { openTestPostgres } from '../../support/postgres.ts'

const FLOWS = 30
/** Statements per flow that the engine may add. */
const ADDED = 3

/** Statements per flow of three steps, one flow after the other. */
async function measure(config: PolyphonyConfigInput): Promise<number> {
  const { url, drop } = await openTestPostgres()
  onTestFinished(drop)
  const provider = createScriptedProvider({ replies: Array.from({ length: 3 * (FLOWS + 1) }, () => 'answer') })
  const polyphony = await openTestPolyphony({ database: url, providers: { scripted: provider }, ...config })
  onTestFinished(() => polyphony.close())
  const { id: threadId } = await polyphony.conversations.createThread('ada')
  const run = async () => {
    const definition = { name: 'three', type: 'sequential' as const, steps: [step('a'), step('b'), step('c')] }
    const { id } = await polyphony.orchestrator.createFlow(threadId, 'ada', definition)
    expect(await polyphony.orchestrator.executeFlow(id, 'ada', { input: 'go' })).toMatchObject({ status: 'COMPLETED' })
  }
  await run()
  const query = vi.spyOn(pg.Client.prototype, 'query')
  onTestFinished(() => query.mockRestore())
  for (let flow = 0; flow < FLOWS; flow++) await run()
  const statements = query.mock.calls.length / FLOWS
  query.mockRestore()
  return statements
}

test('one flow after the other takes at most three statements more than with engine "local"', async () => {
  const local = await measure({})
  const queue = `polyphony-test-${randomBytes(6).toString('hex')}`
  const bullmq = await measure({ engine: 'bullmq', bullmq: { queue } })
  expect(local).toBeGreaterThan(1)
  expect(bullmq).toBeLessThanOrEqual(local + ADDED)
}, 60_000)
