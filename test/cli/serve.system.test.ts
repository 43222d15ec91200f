import { createServer } from 'node:net'
import { afterAll, expect, onTestFinished, test } from 'vitest'
import { createCommandLine } from './command-line.ts'

const commandLine = createCommandLine()
afterAll(() => commandLine.remove())
const TIMEOUT = { timeout: 300_000 }

/** Starts the server, calls `ask` as soon as it prints its address, then sends the signal. */
async function serveOnce(words: readonly string[], signal: NodeJS.Signals, ask: (url: string) => Promise<unknown>) {
  let asked: Promise<unknown> | undefined
  const ended = await commandLine.run(['serve', '--port', '0', '--json', ...words], {
    onOutput: (stdout, pid) => {
      if (asked || !stdout.includes('\n')) return
      asked = ask(JSON.parse(stdout).url).finally(() => process.kill(pid, signal))
    },
  })
  return { ...ended, answer: await asked }
}

test.each(['SIGTERM', 'SIGINT'] as const)(
  'a server answers, ends cleanly on %s, and keeps its data for the next start',
  TIMEOUT,
  async (signal) => {
    const first = await serveOnce(['--simulate'], signal, async (url) => {
      const answer = await fetch(`${url}/api/v1/threads`, { method: 'POST' })
      return answer.json()
    })
    expect(first.exitCode).toBe(0)
    expect(first.answer).toMatchObject({ userId: 'local' })
    const second = await serveOnce(['--simulate'], signal, async (url) => (await fetch(`${url}/api/v1/threads`)).json())
    expect(second.answer).toMatchObject({ items: expect.arrayContaining([first.answer]) })
  },
)

test(
  'serve prints only its own line to standard output, and writes its log to standard error, one JSON object per line',
  TIMEOUT,
  async () => {
    const { stdout, stderr } = await serveOnce(['--database', 'memory://'], 'SIGTERM', (url) => fetch(`${url}/livez`))
    expect(stdout.trimEnd().split('\n')).toHaveLength(1)
    const lines = stderr
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(lines).toContainEqual(
      expect.objectContaining({ msg: 'request', route: '/livez', status: 200, requestId: expect.any(String) }),
    )
  },
)

test('serve reports a port in use, an open address without keys, and an invalid port', TIMEOUT, async () => {
  const taken = createServer().listen(0, '127.0.0.1')
  onTestFinished(() => void taken.close())
  await new Promise((resolve) => taken.once('listening', resolve))
  const address = taken.address()
  const port = typeof address === 'object' && address ? String(address.port) : ''
  const results = await Promise.all([
    commandLine.run(['serve', '--port', port, '--database', 'memory://']),
    commandLine.run(['serve', '--host', '192.0.2.1', '--port', '0', '--database', 'memory://']),
    commandLine.run(['serve', '--port', '70000']),
  ])
  expect(results.map(({ exitCode }) => exitCode)).toEqual([3, 3, 2])
  expect(results[0]?.stderr).toContain(`CONFIG_INVALID: server.port: expected a free port, found ${port} (EADDRINUSE)`)
  expect(results[1]?.stderr).toContain(
    'CONFIG_INVALID: server.host: expected a loopback address such as 127.0.0.1 as long as there are no keys',
  )
  expect(results[2]?.stderr).toContain('expected 0 to 65535')
  for (const { stderr } of results) expect(stderr).not.toMatch(/^\s+at /m)
})
