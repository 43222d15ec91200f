import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import type { PolyphonyConfigInput } from '../../src/config/config.ts'
import type { FlowDefinitionInput } from '../../src/domain/definition/flow-definition.ts'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { createLoopback } from '../support/loopback.ts'
import { serveMcp } from '../support/mcp-http.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { calling } from '../support/tool-world.ts'

const USER = 'ada'
const MCP_KEY = 'a-key-of-the-server'
const SHOP_KEY = 'a-key-of-the-shop'

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

const definition: FlowDefinitionInput = {
  name: 'tools',
  type: 'sequential',
  steps: [
    { id: 'sum', model: 'kit/sum', action: 'run', arguments: { numbers: [1, 2] } },
    { id: 'stock', model: 'shop/stock', action: 'run', arguments: { sku: 'pen' } },
    { id: 'answer', model: 'scripted/m', action: 'generate', tools: ['kit/echo', 'kit/picture', 'kit/fail'], prompt: 'Use them' },
  ],
}

async function runOnce(config: PolyphonyConfigInput) {
  const polyphony = await openTestPolyphony(config)
  try {
    for (const provider of ['kit', 'scripted']) {
      await polyphony.dataSharing.set(USER, provider, { allowCrossProviderContext: true })
    }
    const { id: threadId } = await polyphony.conversations.createThread(USER, { title: 'Tools' })
    const check = await polyphony.orchestrator.checkFlow(definition, USER)
    const { id } = await polyphony.orchestrator.createFlow(threadId, USER, definition)
    const result = await polyphony.orchestrator.executeFlow(id, USER, { input: 'go' })
    return { threadId, result, problems: check.problems }
  } finally {
    await polyphony.close()
  }
}

/** Everything but the times and the ids of stored files, which are those of the replay, with secrets as they are kept. */
const comparable = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (name, member) => {
      if (/(At|Time)$/.test(name)) return undefined
      return name === 'file' ? { ...member, id: undefined } : member
    }).replaceAll(SHOP_KEY, '[secret]'),
  )

test('a flow with MCP tools and an HTTP operation is replayed to the same ids and ledger without their servers', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'polyphony-recording-'))
  closing.push(() => rmSync(directory, { recursive: true, force: true }))
  const server = await serveMcp()
  const shop = await createLoopback(({ headers, response }) =>
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ left: 3, key: headers['x-key'] })),
  )
  const model = createScriptedProvider({
    replies: [calling(['echo', { text: 'hello' }], ['picture', {}], ['fail', {}]), calling(['echo', { text: 'again' }]), 'done'],
  })
  const operations = { stock: { path: '/stock/{sku}', headers: { 'x-key': SHOP_KEY }, expose: 'api' as const, price: 0.02 } }
  const recorded = await runOnce({
    record: directory,
    providers: { scripted: model, shop: { kind: 'http', baseUrl: shop.url, operations } },
    mcp: { kit: { url: `${server.url}/mcp`, headers: { 'x-key': MCP_KEY }, price: 0.01 } },
  })
  expect(server.calls).toEqual(['hello', 'fail', 'again'])
  expect(recorded.result.totalCost).toBeCloseTo(0.07)
  await server.close()
  await shop.close()

  const replayed = await runOnce({ replay: directory })

  expect(replayed.problems).toEqual(recorded.problems)
  expect(replayed.threadId).toBe(recorded.threadId)
  expect(comparable(replayed.result)).toEqual(comparable(recorded.result))
  expect(replayed.result.steps[2]?.toolCalls?.map(({ isError, files = [] }) => [isError, files.length])).toEqual([
    [false, 0],
    [false, 3],
    [true, 0],
    [false, 0],
  ])
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  const text = files.map(({ parentPath, name }) => readFileSync(join(parentPath, name), 'utf8')).join('')
  for (const secret of [MCP_KEY, SHOP_KEY]) expect(text).not.toContain(secret)
})
