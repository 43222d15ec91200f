import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createClient } from '../../src/client/client.ts'
import { CHROMIUM, openPage } from '../support/chromium.ts'
import { listenOnLoopback } from '../support/loopback.ts'
import { codeBlocks, readMarkdown } from '../support/markdown.ts'
import { ROOT, runBlock } from '../support/run-block.ts'

const blocks = codeBlocks(readMarkdown('docs/tutorial.md'))
const programs = blocks.filter(({ language }) => language === 'ts').map(({ code }) => code)
const [embed = '', start = '', , policy = ''] = programs
const ADDRESS = 'http://127.0.0.1:4100'

const PAGE_ADDRESS = 'http://localhost:5173'
const page = blocks.find(({ language }) => language === 'html')?.code ?? ''

let directory: string
let server: ChildProcess
let url: string
/** What the page of step 3 is served by, on a port of the system. */
const site = createServer((_, response) => {
  response.setHeader('content-type', 'text/html; charset=utf-8')
  response.end(page.replaceAll(ADDRESS, url))
})
let pageAddress: string

/** What `npm start -- --simulate` runs, on a port and a directory of the test. */
beforeAll(async () => {
  const port = await listenOnLoopback(site)
  pageAddress = `http://localhost:${port}`
  directory = await mkdtemp(join(tmpdir(), 'polyphony-tutorial-'))
  const words = ['dist/src/cli/main.js', 'serve', '--simulate', '--port', '0', '--json']
  const env = {
    PATH: process.env.PATH,
    DATABASE_URL: `pglite://${directory}/data`,
    POLYPHONY_CORS_ORIGINS: pageAddress,
  }
  server = spawn(process.execPath, words, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'ignore'] })
  if (!server.stdout) throw new Error('expected a pipe')
  for await (const line of createInterface({ input: server.stdout })) {
    url = JSON.parse(line).url
    break
  }
}, 120_000)

afterAll(async () => {
  site.close()
  server.kill('SIGTERM')
  if (server.exitCode === null) await once(server, 'exit')
  await rm(directory, { recursive: true })
}, 120_000)

const run = (code: string) => runBlock(code.replaceAll(ADDRESS, url).replaceAll(PAGE_ADDRESS, pageAddress))

describe('the tutorial', () => {
  test('the tutorial has four programs', () => {
    expect(programs).toHaveLength(4)
  })

  test('the first program of the tutorial runs a flow to its end', { timeout: 300_000 }, async () => {
    const lines = (await run(embed)).trim().split('\n')
    expect(lines[0]).toMatch(/^1 flow_start/)
    expect(lines.some((line) => /^\d+ flow_complete/.test(line))).toBe(true)
  })

  test('a program of the tutorial starts a flow at the server and streams it', { timeout: 300_000 }, async () => {
    const [address = '', ...text] = (await run(start)).split('\n')
    const flowId = address.replace(`${pageAddress}/#`, '')
    const flow = await createClient({ baseUrl: url }).flows.get(flowId)
    expect(flow.status).toBe('COMPLETED')
    expect(text.join('\n')).toContain(flow.result?.finalOutput)
  })

  test('the page of the tutorial has an origin that may call the server', async () => {
    const answer = await fetch(`${url}/api/v1/threads`, { headers: { origin: pageAddress } })
    expect(answer.headers.get('access-control-allow-origin')).toBe(pageAddress)
    expect((await fetch(`${url}/api/v1/threads`, { headers: { origin: 'http://localhost:9' } })).status).toBe(403)
  })

  test('the flow of the tutorial is refused without the policy and runs with it', { timeout: 300_000 }, async () => {
    const lines = await run(policy)
    expect(lines).toMatch(/^DATA_SHARING_DENIED /m)
    expect(lines).toMatch(/^true \{/m)
    expect(lines).toMatch(/^COMPLETED /m)
    expect(lines).toContain("rule: 'allowCrossProviderContext'")
  })

  test.skipIf(!CHROMIUM)('the page of the tutorial shows a flow to its end', { timeout: 300_000 }, async () => {
    const tab = await openPage()
    await tab.goto((await run(start)).split('\n', 1)[0] ?? '')
    await tab.locator('#status', { hasText: 'COMPLETED' }).waitFor()
    expect(await tab.textContent('#text')).not.toBe('')
  })
})
