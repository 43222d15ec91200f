import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { Socket } from 'node:net'
import type { BrowserContext, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, onTestFinished, type TestContext, test } from 'vitest'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { CHROMIUM, openBrowser } from '../support/chromium.ts'
import { listenOnLoopback } from '../support/loopback.ts'
import { type RunningServer, runServer } from './running-server.ts'

const PIECES = Array.from({ length: 400 }, (_, index) => `<${index}>`)
const OPTIONS = { timeout: 300_000 }

let browser: { readonly context: BrowserContext; close(): Promise<void> } | undefined
beforeAll(async () => {
  browser = CHROMIUM === undefined ? undefined : await openBrowser(CHROMIUM)
})
afterAll(() => browser?.close())

async function openPage({ skip }: TestContext): Promise<Page> {
  if (!browser) return skip('there is no Chromium: install one, or name it with CHROMIUM_PATH')
  const page = await browser.context.newPage()
  onTestFinished(() => page.close())
  return page
}

/** An empty page at an origin of its own. */
async function servePage(): Promise<string> {
  const server: Server = createServer((_, response) => {
    response.setHeader('content-type', 'text/html')
    response.end('<!doctype html><title>elsewhere</title>')
  })
  const port = await listenOnLoopback(server)
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${port}`
}

type Options = Parameters<typeof runServer>[0]

async function openServer(options: Options = {}) {
  const pen = createScriptedProvider({ replies: () => ({ text: PIECES.join(''), chunks: PIECES, delayMs: 2 }) })
  const running = await runServer({ providers: { scripted: pen }, ...options })
  const connections = new Set<Socket>()
  running.server.app.server.on('upgrade', (_, socket: Socket) => {
    connections.add(socket)
    socket.once('close', () => connections.delete(socket))
  })
  return { ...running, connections }
}

async function createFlow({ send }: RunningServer, key?: string): Promise<string> {
  const thread = (await send('POST', '/api/v1/threads', { key })).json
  const definition = {
    name: 'writing',
    type: 'sequential',
    input: 'go',
    steps: [{ id: 'write', model: 'scripted/pen', action: 'generate', prompt: '{{ original }}' }],
  }
  const { json } = await send('POST', '/api/v1/flows', { key, body: { threadId: thread.id, definition } })
  return String(json.id)
}

interface SubscriptionSet {
  readonly url: string
  readonly flowId: string
  readonly key?: string
}

/** Runs a script of `pages/` in the page, as somebody without our types writes it. */
async function runInPage(page: Page, name: 'attack' | 'follow', following: SubscriptionSet): Promise<Record<string, unknown>> {
  const script = await readFile(new URL(`./pages/${name}.js`, import.meta.url), 'utf8')
  const outcome: unknown = await page.evaluate(
    `${script.replace('export default', 'const run =')}\nrun(${JSON.stringify(following)})`,
  )
  if (typeof outcome !== 'object' || outcome === null) throw new Error(`${name} told nothing`)
  return { ...outcome }
}

async function expectFollowed(place: Awaited<ReturnType<typeof openServer>>, page: Page, key?: string): Promise<void> {
  const flowId = await createFlow(place, key)
  const following = runInPage(page, 'follow', { url: place.url, flowId, key })
  while (place.connections.size === 0) await new Promise((resolve) => setTimeout(resolve, 10))
  await place.send('POST', `/api/v1/flows/${flowId}/execute`, { key })
  for (let cuts = 0; cuts < 3; cuts++) {
    while (place.connections.size === 0) await new Promise((resolve) => setTimeout(resolve, 10))
    await new Promise((resolve) => setTimeout(resolve, 50))
    for (const socket of place.connections) socket.destroy()
  }
  const { text, seqs, connections, status } = await following
  expect(status).toBe('COMPLETED')
  expect(text).toBe(PIECES.join(''))
  const numbers = Array.isArray(seqs) ? seqs.map(Number) : []
  expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b))
  expect(connections).toBeGreaterThan(1)
}

test('a page of the server itself gets a ticket, streams a flow and survives lost connections', OPTIONS, async (context) => {
  const page = await openPage(context)
  const place = await openServer()
  await page.goto(`${place.url}/docs/`)
  await expectFollowed(place, page)
})

test('a page of an allowed origin does the same with a key', OPTIONS, async (context) => {
  const page = await openPage(context)
  const origin = await servePage()
  const place = await openServer({ server: { corsOrigins: [origin] } })
  const key = await place.keyOf('ada')
  await page.goto(origin)
  await expectFollowed(place, page, key)
})

test('a page of another origin reads nothing, changes nothing and opens nothing', OPTIONS, async (context) => {
  const page = await openPage(context)
  const place = await openServer()
  const flowId = await createFlow(place)
  const origin = await servePage()
  const statuses: number[] = []
  page.on('response', (response) => {
    if (response.url().startsWith(place.url)) statuses.push(response.status())
  })
  // Another port, another name of the same machine, and a page without any origin.
  for (const address of [origin, origin.replace('127.0.0.1', 'localhost'), 'data:text/html,<!doctype html><body>']) {
    await page.goto(address)
    const outcomes = await runInPage(page, 'attack', { url: place.url, flowId })
    const { form, beacon, ...rest } = outcomes
    expect([form, beacon]).toEqual(['sent', 'true'])
    for (const [name, outcome] of Object.entries(rest)) {
      expect([name, ['TypeError', 'Error', 'opaque'].includes(String(outcome))]).toEqual([name, true])
    }
  }
  expect(new Set(statuses)).toEqual(new Set([403]))
  const threads = (await place.send('GET', '/api/v1/threads')).json.items
  expect(threads).toHaveLength(1)
  expect((await place.send('GET', `/api/v1/flows/${flowId}/status`)).json.status).toBe('PENDING')
  expect(place.connections.size).toBe(0)
})

test('a DNS name that is rebound to this machine is refused', OPTIONS, async (context) => {
  const page = await openPage(context)
  const place = await openServer()
  // What Chromium resolves to this machine by itself, as a rebound name would be.
  const answer = await page.goto(`${place.url.replace('127.0.0.1', 'rebound.localhost')}/api/v1/me`)
  expect(answer?.status()).toBe(421)
})

test(
  'the pages at /docs work within their content security policy and load nothing from other servers',
  OPTIONS,
  async (context) => {
    const page = await openPage(context)
    const { url } = await openServer()
    const foreign: string[] = []
    const complaints: string[] = []
    page.on('request', (request) => {
      if (!request.url().startsWith(`${url}/`) && !request.url().startsWith('data:')) foreign.push(request.url())
    })
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text())
    })
    page.on('pageerror', (error) => complaints.push(error.message))
    page.on('requestfailed', (request) => complaints.push(`${request.url()}: ${request.failure()?.errorText}`))
    page.on('response', (response) => {
      if (response.status() >= 400) complaints.push(`${response.status()} ${response.url()}`)
    })
    await page.goto(`${url}/docs/`)
    await page.waitForSelector('.swagger-ui .info .title')
    const operation = page.locator('#operations-caller-get_api_v1_me, .opblock:has([data-path="/api/v1/me"])').first()
    await operation.locator('button.opblock-summary-control').click()
    await operation.locator('button.try-out__btn').click()
    await operation.locator('button.execute').click()
    await operation.locator('.live-responses-table .response-col_status').first().waitFor()
    expect(await operation.locator('.live-responses-table').textContent()).toContain('"userId": "local"')
    expect(foreign).toEqual([])
    expect(complaints).toEqual([])
  },
)
