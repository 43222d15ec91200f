import { join } from 'node:path'
import { createAdaptorServer } from '@hono/node-server'
import { build } from 'esbuild'
import { Hono } from 'hono'
import type { Page } from 'playwright-core'
import { expect, onTestFinished, test } from 'vitest'
import * as z from 'zod'
import { createChatHandlers } from '../../src/ai-sdk.ts'
import type { FlowDefinitionInput } from '../../src/domain/definition/flow-definition.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import type { Provider } from '../../src/providers/provider.ts'
import { CHROMIUM, openPage } from '../support/chromium.ts'
import { listenOnLoopback } from '../support/loopback.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { ROOT } from '../support/run-block.ts'

const step = { model: 'scripted/m', action: 'generate', prompt: 'original' } as const
const PROSE: FlowDefinitionInput = { name: 'prose', type: 'sequential', steps: [{ id: 'answer', ...step }] }
const VALUE: FlowDefinitionInput = {
  name: 'value',
  type: 'sequential',
  steps: [{ id: 'find', ...step, outputSchema: z.object({ city: z.string() }) }],
}

/** An answer in two halves, of which the second one waits until it is let go. */
function createHalves() {
  let letGo: (() => void) | undefined
  const provider: Provider = {
    id: 'scripted',
    kind: 'scripted',
    vendor: 'scripted',
    simulated: false,
    async generate({ messages }, { onDelta, signal }) {
      const asked = messages.at(-1)?.content ?? ''
      if (asked.includes('fail')) throw new OrchestratorError('PROVIDER_REJECTED', 'The model refused the request')
      const [first, second] = asked.includes('city') ? ['{"city":', '"Paris"}'] : ['The first half, ', 'and the second.']
      onDelta?.(first)
      await new Promise<void>((resolve, reject) => {
        letGo = resolve
        signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      })
      onDelta?.(second)
      return {
        text: first + second,
        finishReason: 'stop',
        model: 'm',
        usage: { inputTokens: 1, outputTokens: 1, totalTokens: 2, source: 'reported' },
        notes: [],
      }
    },
  }
  return { provider, letGo: () => letGo?.() }
}

async function openChat() {
  const { provider, letGo } = createHalves()
  const polyphony = await openTestPolyphony({ providers: { scripted: provider } })
  const chat = createChatHandlers({
    polyphony,
    userOf: () => 'ada',
    flow: ({ input }) => (input.includes('city') ? VALUE : PROSE),
  })
  const { outputFiles } = await build({
    entryPoints: [join(ROOT, 'test/ui-messages/chat-page.jsx')],
    bundle: true,
    format: 'esm',
    platform: 'browser',
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': '"production"' },
    write: false,
  })
  const app = new Hono()
    .get('/', (context) =>
      context.html('<!doctype html><title>Chat</title><body></body><script type=module src=/page.js></script>'),
    )
    .get('/page.js', (context) => context.body(outputFiles[0]?.text ?? '', 200, { 'content-type': 'text/javascript' }))
    .post('/api/chat', (context) => chat.send(context.req.raw))
    .get('/api/chat/:id', (context) => chat.messages(context.req.raw, context.req.param('id')))
    .get('/api/chat/:id/stream', (context) => chat.resume(context.req.raw, context.req.param('id')))
    .delete('/api/chat/:id/stream', (context) => chat.stop(context.req.raw, context.req.param('id')))
  const server = createAdaptorServer({ fetch: app.fetch })
  const port = await listenOnLoopback(server)
  onTestFinished(async () => {
    server.close()
    await polyphony.close()
  })
  const { id } = await polyphony.conversations.createThread('ada')
  const page = await openPage()
  await page.goto(`http://127.0.0.1:${port}/#${id}`)
  const say = async (text: string) => {
    await page.locator('input').fill(text)
    await page.locator('input').press('Enter')
  }
  return { page, say, letGo, polyphony, threadId: id }
}

const textsOf = (page: Page, selector: string) => page.locator(selector).allTextContents()
const ready = (page: Page, status = 'ready') => page.locator('#status', { hasText: status }).waitFor()

test.skipIf(!CHROMIUM)('useChat streams an answer, and shows it whole and once after a reload in its middle', async () => {
  const { page, say, letGo } = await openChat()
  await ready(page)
  await say('Hello')
  await page.locator('.assistant .text', { hasText: 'The first half,' }).waitFor()
  await page.reload()
  await page.locator('.assistant .text', { hasText: 'The first half,' }).waitFor()
  expect(await textsOf(page, '#status')).toEqual(['streaming'])
  letGo()
  await ready(page)
  const whole = ['Hello', 'The first half, and the second.']
  expect(await textsOf(page, '.text')).toEqual(whole)
  expect(await textsOf(page, '.step')).toEqual(['answer: SUCCESS'])
  await page.reload()
  await ready(page)
  await page.locator('.assistant .text').waitFor()
  expect(await textsOf(page, '.text')).toEqual(whole)
})

test.skipIf(!CHROMIUM)('useChat shows the value of a structured answer, and the error of a failed flow', async () => {
  const { page, say, letGo } = await openChat()
  await ready(page)
  await say('Which city?')
  await page.locator('.step', { hasText: 'find: RUNNING' }).waitFor()
  letGo()
  await page.locator('.value').waitFor()
  expect(await textsOf(page, '.value')).toEqual(['{"city":"Paris"}'])
  await ready(page)
  await say('Please fail')
  await ready(page, 'error')
  expect(await textsOf(page, '#error')).toEqual(['The model refused the request'])
  expect(await textsOf(page, '.step')).toEqual(['find: SUCCESS', 'answer: FAILED'])
  await page.reload()
  await ready(page, 'error')
  expect(await textsOf(page, '#error')).toEqual(['The model refused the request'])
})

test.skipIf(!CHROMIUM)('a page stops the flow, which leaving it does not', async () => {
  const { page, say, polyphony, threadId } = await openChat()
  const status = async () => (await polyphony.orchestrator.listFlows(threadId, 'ada')).map((flow) => flow.status)
  await ready(page)
  await say('Hello')
  await page.locator('.assistant .text').waitFor()
  await page.reload()
  await page.locator('.assistant .text').waitFor()
  expect(await status()).toEqual(['RUNNING'])
  await page.locator('button').click()
  await ready(page)
  await expect.poll(status).toEqual(['CANCELLED'])
})
