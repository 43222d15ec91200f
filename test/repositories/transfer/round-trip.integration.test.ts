import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { FlowUpdate } from '../../../src/domain/execution/flow-update.ts'
import type { Polyphony } from '../../../src/polyphony.ts'
import { createScriptedProvider } from '../../../src/providers/scripted.ts'
import { migrate, openStore } from '../../../src/repositories/database.ts'
import { rejection } from '../../support/caught.ts'
import { chain, rejected, step } from '../../support/flows.ts'
import { openTestPolyphony } from '../../support/polyphony.ts'
import { openTestPostgres, type TestPostgres } from '../../support/postgres.ts'
import { newClaim, newFlow, newThread, stepResult, update } from '../../support/stored-data.ts'
import { exportText, importText, rowLines } from '../../support/transfer.ts'

const USER = 'ada'
/** Text that a format or an encoding may damage: quotes, escapes, line ends, line separators, pairs of surrogates. */
const ODD_TEXT = 'a "quote", \\u0000 as text, \\ \\n\n\r\n\ttab \u2028 \u00e9 \ud83c\udfbb \ufeff end'

let folder: string
let source: string
let target: TestPostgres
let again: TestPostgres
let file: string
const ids = { done: '', failed: '', running: '', thread: '' }
const before = { updates: [] as FlowUpdate[], usage: undefined as unknown, flow: undefined as unknown, token: '' }

let isBroken = true
const open = (database: string): Promise<Polyphony> =>
  openTestPolyphony({
    database,
    providers: {
      scripted: createScriptedProvider({
        replies: (request) => {
          if (request.messages.at(-1)?.content.startsWith('do second') && isBroken) return rejected()
          const text = `${ODD_TEXT} ${request.messages.at(-1)?.content}`
          const usage = { inputTokens: 10, outputTokens: 5, totalTokens: 15, source: 'reported' } as const
          return { text, chunks: [text.slice(0, 20), text.slice(20)], usage }
        },
      }),
    },
    prices: { 'scripted/m': { inputPerMillion: 3, outputPerMillion: 7 } },
  })

async function readUpdates(polyphony: Polyphony, afterSeq: number): Promise<FlowUpdate[]> {
  const updates: FlowUpdate[] = []
  for await (const next of polyphony.orchestrator.streamFlow(ids.done, USER, { afterSeq })) updates.push(next)
  return updates
}

/** Everything but the instant and the checksum. */
const comparable = (text: string): string => text.replace(/"exportedAt":"[^"]*"/, '').replace(/"sha256":"[^"]*"/, '')

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'polyphony-transfer-'))
  source = `pglite://${join(folder, 'data')}`
  target = await openTestPostgres()
  again = await openTestPostgres()
  const polyphony = await open(source)
  const { orchestrator, conversations, permissions, dataSharing, apiKeys, usage } = polyphony
  const thread = await conversations.createThread(USER, { title: ODD_TEXT })
  ids.thread = thread.id
  await conversations.addMessage(thread.id, USER, { role: 'user', content: ODD_TEXT, metadata: { deep: [{ x: 1.5e-7 }] } })
  await permissions.grant(thread.id, USER, 'bob', ['read'])
  await dataSharing.set(USER, 'openai', { allowConversationHistory: true })
  before.token = (await apiKeys.create(USER, { name: 'laptop' })).token
  ids.done = (await orchestrator.createFlow(thread.id, USER, chain(step('first')))).id
  await orchestrator.executeFlow(ids.done, USER, { input: ODD_TEXT, streaming: true, saveMessages: true })
  ids.failed = (await orchestrator.createFlow(thread.id, USER, chain(step('first'), step('second')))).id
  await rejection(orchestrator.executeFlow(ids.failed, USER, { input: 'in' }))
  await orchestrator.createFlow(thread.id, USER, chain(step('never')))
  before.updates = await readUpdates(polyphony, 0)
  before.usage = await usage.report(USER, { groupBy: ['model'] })
  before.flow = await orchestrator.getFlow(ids.done, USER)
  await polyphony.close()

  // A process died while it ran a flow.
  const store = await openStore({ url: source })
  const dead = newThread({ userId: 'eve' })
  await store.threads.create(dead)
  const flow = newFlow(dead.id, { userId: 'eve' })
  ids.running = flow.id
  await store.journal.createFlow(flow)
  const claimed = await store.journal.claim(newClaim(flow.id, { runOptions: { streaming: true } }))
  if (!('epoch' in claimed)) throw new Error('expected to win the claim')
  await store.journal.append({
    flowId: flow.id,
    epoch: claimed.epoch,
    results: [stepResult(flow.id, 'draft', { parsed: { a: [1, null] } })],
    updates: [update(1)],
  })
  await store.close()
  file = await exportText(source)
})
afterAll(async () => {
  await target?.drop()
  await again?.drop()
  await rm(folder, { recursive: true, force: true })
})

test('an export imported into Postgres and exported again is the same file, and so is one that went back', async () => {
  const counts = await importText(target.url, file, 1_000)
  expect(counts).toMatchObject({
    definition: { imported: 4, skipped: 0 },
    thread: { imported: 2, skipped: 0 },
    permission: { imported: 2, skipped: 0 },
    policy: { imported: 1, skipped: 0 },
    apiKey: { imported: 1, skipped: 0 },
    flow: { imported: 4, skipped: 0 },
    claim: { imported: 1, skipped: 0 },
  })
  const second = await exportText(target.url)
  expect(comparable(second)).toBe(comparable(file))
  const back = `pglite://${join(folder, 'back')}`
  await importText(back, second)
  expect(comparable(await exportText(back))).toBe(comparable(file))
})

test('importing the same file twice changes nothing', async () => {
  const counts = await importText(target.url, file)
  for (const [kind, { imported, skipped }] of Object.entries(counts)) {
    expect(imported, kind).toBe(0)
    expect(skipped, kind).toBe(rowLines(file).filter((line) => line.startsWith(`{"kind":"${kind}"`)).length)
  }
})

test('an imported flow reads, streams from every position, resumes and reruns as the original, with the same ledger', async () => {
  const polyphony = await open(target.url)
  const { orchestrator, conversations, permissions, dataSharing, apiKeys, usage } = polyphony
  expect(await orchestrator.getFlow(ids.done, USER)).toEqual(before.flow)
  expect(before.updates.length).toBeGreaterThan(4)
  for (let afterSeq = 0; afterSeq <= before.updates.length; afterSeq++) {
    const expected = before.updates.filter(({ seq }) => seq > afterSeq)
    expect(await readUpdates(polyphony, afterSeq)).toEqual(expected)
  }
  expect(await usage.report(USER, { groupBy: ['model'] })).toEqual(before.usage)
  const messages = await conversations.getMessages(ids.thread, USER)
  expect(messages[0]).toMatchObject({ content: ODD_TEXT, metadata: { deep: [{ x: 1.5e-7 }] } })
  expect(await permissions.can('bob', ids.thread, 'read')).toBe(true)
  expect(await dataSharing.get(USER, 'openai')).toMatchObject({ allowConversationHistory: true })
  expect(await apiKeys.verify(before.token)).toBeUndefined()
  expect(await apiKeys.list(USER)).toMatchObject([{ name: 'laptop', revokedAt: expect.any(Date) }])

  isBroken = false
  const resumed = await orchestrator.executeFlow(ids.failed, USER)
  isBroken = true
  expect(resumed.status).toBe('COMPLETED')
  expect(resumed.steps.map(({ stepId, status }) => [stepId, status])).toEqual([
    ['first', 'SUCCESS'],
    ['second', 'SUCCESS'],
  ])
  const copy = await orchestrator.rerunFlow(ids.done, USER)
  expect((await orchestrator.executeFlow(copy.id, USER)).status).toBe('COMPLETED')
  await polyphony.close()
})

test('a flow that ran in a dead process is found at the destination like that of any dead process', async () => {
  const store = await openStore({ url: target.url })
  expect(await store.flows.find(ids.running)).toMatchObject({ runOptions: { streaming: true } })
  await store.owners.interruptOrphanedFlows({ staleMs: 0, isDead: () => false })
  expect(await store.flows.find(ids.running)).toMatchObject({ status: 'FAILED', error: { code: 'FLOW_INTERRUPTED' } })
  const steps = await store.flows.stepResults(ids.running)
  expect(steps).toMatchObject([{ stepId: 'draft', parsed: { a: [1, null] } }])
  await store.close()
})

test('results of a flow that went on since, and rights that were withdrawn since, are not imported again', async () => {
  await migrate(again.url)
  await importText(again.url, file)
  const polyphony = await open(again.url)
  await polyphony.permissions.revoke(ids.thread, USER, 'bob')
  await polyphony.orchestrator.deleteFlow(ids.done, USER)
  await polyphony.close()
  const counts = await importText(again.url, file)
  expect(counts).toMatchObject({ flow: { imported: 1 }, result: { imported: 1 }, permission: { imported: 0 } })
  const store = await openStore({ url: again.url })
  expect(await store.permissions.rightsOf('bob', ids.thread)).toEqual([])
  await store.close()
})

test('an export is refused while another process runs flows, unless it is asked for', async () => {
  const store = await openStore({ url: again.url })
  const flow = newFlow(ids.thread)
  await store.journal.createFlow(flow)
  await store.journal.claim(newClaim(flow.id, { ownerId: 'alive' }))
  await store.owners.heartbeat({ id: 'alive', host: 'elsewhere', pid: 1 })
  expect(await rejection(exportText(again.url))).toMatchObject({
    code: 'FLOW_ALREADY_RUNNING',
    message: expect.stringContaining('--include-running'),
  })
  expect(rowLines(await exportText(again.url, true)).some((line) => line.startsWith('{"kind":"claim"'))).toBe(true)
  await store.owners.expire('alive')
  expect(rowLines(await exportText(again.url)).length).toBeGreaterThan(0)
  await store.close()
})
