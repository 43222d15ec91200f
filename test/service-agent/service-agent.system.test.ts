import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { build } from 'esbuild'
import { expect, onTestFinished, test } from 'vitest'

const SOURCE = new URL('../../src/service-agent/service-agent.ts', import.meta.url).pathname

async function bundle(contents: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: new URL('.', import.meta.url).pathname, loader: 'ts' },
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
  })
  return outputFiles[0]?.text ?? ''
}

test('the agent has less than 5 kB and imports nothing but modules of Node.js', async () => {
  const text = await bundle(`export { ServiceAgent } from '${SOURCE}'`)
  expect(text.length).toBeLessThan(5_000)
  expect([...text.matchAll(/(?:from|import\()\s*["']([^"']+)["']/g)].map(([, name]) => name)).toEqual(['node:http'])
})

test('SIGTERM runs the stop handlers in their order, whatever one of them throws, and ends with code 0', async () => {
  const program = await bundle(`
    import { ServiceAgent } from '${SOURCE}'
    const agent = new ServiceAgent('ending')
    await agent.serveHealth()
    agent.onStop(() => { console.log('first'); throw new Error('handler failed') })
    agent.onStop(async () => { await new Promise((resolve) => setImmediate(resolve)); console.log('second') })
    console.log('ready')
  `)
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'pipe'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  let stdout = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (!stdout.includes('ready') && (stdout + text).includes('ready')) child.kill('SIGTERM')
    stdout += text
  })
  const [code, signal] = await once(child, 'close')
  expect({ code, signal, lines: stdout.trim().split('\n') }).toEqual({
    code: 0,
    signal: null,
    lines: ['ready', 'first', 'second'],
  })
}, 60_000)
