import { createServer } from 'node:http'
import { join } from 'node:path'
import { build } from 'esbuild'
import { expect, onTestFinished, test } from 'vitest'
import { runServer } from '../server/running-server.ts'
import { CHROMIUM, openPage } from '../support/chromium.ts'
import { listenOnLoopback } from '../support/loopback.ts'
import { ROOT } from '../support/run-block.ts'
import type { Seen } from './browser-page.ts'

/** Serves one page with its program from another origin than the server. */
async function serveSite(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(ROOT, 'test/client/browser-page.ts')],
    bundle: true,
    minify: true,
    platform: 'browser',
    format: 'esm',
    write: false,
  })
  const site = createServer((request, response) => {
    const isScript = request.url === '/page.js'
    response.writeHead(200, { 'content-type': isScript ? 'text/javascript' : 'text/html' })
    response.end(isScript ? outputFiles[0]?.text : '<!doctype html><title>Ada</title><script type=module src=/page.js></script>')
  })
  const port = await listenOnLoopback(site)
  onTestFinished(() => void site.close())
  return `http://127.0.0.1:${port}`
}

test.skipIf(!CHROMIUM)(
  'a page of another origin runs and streams flows, over HTTP and over a WebSocket',
  { timeout: 300_000 },
  async () => {
    const origin = await serveSite()
    const server = await runServer({ server: { corsOrigins: [origin] } })
    const token = await server.keyOf('ada')
    const page = await openPage()
    await page.goto(origin)

    const seen: Seen = await page.evaluate(([url, key]) => Reflect.get(globalThis, 'runPage')(url, key), [server.url, token])
    const [whole = [], rest, merged = []] = seen.loops
    expect(seen.status).toBe('COMPLETED')
    expect(whole).toEqual(whole.map((_, index) => index + 1))
    expect(rest).toEqual(whole.slice(3))
    expect(merged.at(-1)).toBe(whole.length)
    expect(seen.codes).toEqual(['FLOW_NOT_FOUND', 'UNAUTHENTICATED', 'BAD_ANSWER'])
  },
)
