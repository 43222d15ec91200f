import { randomUUID } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import type { Polyphony } from '../../src/polyphony.ts'
import { isProcessRunning } from '../../src/system/processes.ts'
import { endLeftProcesses } from '../support/left-processes.ts'
import { openTestPolyphony } from '../support/polyphony.ts'

const opened: Polyphony[] = []
const folders: string[] = []
/** Every program of the tests inherits this variable. */
const WORLD = 'POLYPHONY_TEST_WORLD'
const world = randomUUID()
afterEach(async () => {
  for (const polyphony of opened.splice(0)) await polyphony.close()
  expect(await endLeftProcesses(WORLD, world), 'processes left behind').toEqual([])
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

async function open(files: Readonly<Record<string, string>>, settings: object = {}) {
  const root = mkdtempSync(join(tmpdir(), 'polyphony-programs-'))
  folders.push(root)
  const dir = join(root, 'services')
  mkdirSync(dir)
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(dir, name), text)
    chmodSync(join(dir, name), 0o600)
  }
  const lines: string[] = []
  const write = (message: string, facts?: object) => void lines.push(`${message} ${JSON.stringify(facts)}`)
  process.env[WORLD] = world
  const environment = { inherit: ['PATH', WORLD] }
  const polyphony = await openTestPolyphony({
    services: { dir, dataDir: join(root, 'data'), health: { startIntervalMs: 20 }, environment, ...settings },
    logger: { error: write, warn: write, info: write, debug: write },
  })
  opened.push(polyphony)
  return { polyphony, services: polyphony.services, dataDir: join(root, 'data'), lines }
}

const WEB = `
import { createServer } from 'node:http'
createServer((request, response) => {
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify({ path: request.url, given: process.env.GIVEN, key: process.env.POLYPHONY_TEST_KEY ?? null }))
}).listen(Number(process.argv.at(-1)), '127.0.0.1', () => console.log('up'))
`
const web = (id: string, more = '') => `id: ${id}
type: network
executable: [${JSON.stringify(process.execPath)}, --input-type=module, --eval, ${JSON.stringify(WEB)}, "{{port}}"]
port: auto
endpoint: http://127.0.0.1:{{port}}
health: { url: "{{endpoint}}/health" }
environment: { GIVEN: "{{id}} at {{port}}" }
${more}`

describe('programs of service files', () => {
  test('a record that an earlier supervisor left unreadable is set aside with a warning, and its service starts', async () => {
    const { services, dataDir, lines } = await open({ 'web.yaml': web('web') })
    mkdirSync(join(dataDir, 'run'), { recursive: true, mode: 0o700 })
    writeFileSync(join(dataDir, 'run', 'web.json'), '{"id":"web",')
    expect(await services.startAll()).toMatchObject([{ id: 'web', state: 'running' }])
    expect(lines).toContain('service orphan {"service":"web"}')
    expect(existsSync(join(dataDir, 'run', 'web.set-aside'))).toBe(true)
  })

  test('a folder in the place of a record is set aside like one that cannot be read, and keeps no service from starting', async () => {
    const { services, dataDir } = await open({ 'web.yaml': web('web'), 'other.yaml': web('other') })
    mkdirSync(join(dataDir, 'run', 'web.json'), { recursive: true, mode: 0o700 })
    const reports = await services.startAll()
    expect(reports.map(({ id, state }) => [id, state])).toEqual([
      ['other', 'running'],
      ['web', 'running'],
    ])
    expect(existsSync(join(dataDir, 'run', 'web.set-aside'))).toBe(true)
  })

  test('a program gets a port, is ready at its first good probe, is called, and is gone after the close', async () => {
    process.env.POLYPHONY_TEST_KEY = 'secret'
    const { polyphony, services, lines } = await open({
      'web.yaml': web('web'),
      'later.yaml': web('later', 'dependsOn: [web]\n'),
      'bad.yaml': 'id: bad\ntype: llm\nport: 80\nname: [1]\n',
    })
    delete process.env.POLYPHONY_TEST_KEY
    const reports = await services.startAll()
    expect(reports.map(({ id, state, health }) => [id, state, health])).toEqual([
      ['later', 'running', 'healthy'],
      ['web', 'running', 'healthy'],
    ])
    expect(lines.join()).toMatch(/bad\.yaml:4:1/)
    const { process: program, endpoint = '' } = services.get('web')
    expect(program).toMatchObject({ pid: expect.any(Number), startedAt: expect.any(Date) })
    expect(endpoint).not.toBe(services.get('later').endpoint)
    const { body } = await services.call('web', { path: '/x' })
    expect(body).toEqual({ path: '/x', given: `web at ${new URL(endpoint).port}`, key: null })
    for await (const line of services.logs('web')) expect(line.text).toBe('up')
    const pids = ['web', 'later'].map((id) => services.get(id).process?.pid ?? 0)
    expect(pids.every(isProcessRunning)).toBe(true)
    await polyphony.close()
    expect(pids.some(isProcessRunning)).toBe(false)
  })

  test('a program that ends at once is started once more for each retry and then given up', async () => {
    const { services } = await open(
      { 'crash.yaml': 'id: crash\ntype: agent\nexecutable: sh -c "exit 3"\nstart: manual\n' },
      { restart: { maxRetries: 2, delayMs: 5 } },
    )
    expect(await services.load()).toEqual([])
    await expect(services.start('crash')).rejects.toMatchObject({
      code: 'SERVICE_GAVE_UP',
      details: { exitCode: 3, attempts: 3 },
    })
    expect(services.get('crash')).toMatchObject({ state: 'failed', restarts: 2, lastExit: { code: 3, reason: 'crashed' } })
  })

  test('a line of its output makes a program ready', async () => {
    const { services } = await open({
      'line.yaml': `id: line\ntype: agent\nexecutable: [sh, -c, "echo loading; echo server running on 1; exec sleep 1000"]\nready: { logLine: running on }\n`,
    })
    expect(await services.startAll()).toMatchObject([{ state: 'running', health: 'unknown' }])
    expect((await services.stop('line')).lastExit).toMatchObject({ signal: 'SIGTERM', reason: 'stopped' })
  })

  test('a program that does not exist fails its start by name', async () => {
    const { services } = await open({
      'none.yaml': 'id: none\ntype: agent\nexecutable: [no-such-program-here]\nrestart: { maxRetries: 0 }\n',
    })
    await services.load()
    await expect(services.start('none')).rejects.toMatchObject({ code: 'SERVICE_START_FAILED' })
  })

  test('an instance that starts no program writes no file for programs', async () => {
    const { polyphony, services, dataDir } = await open({ 'web.yaml': web('web') })
    await services.load()
    await services.register({ id: 'here', type: 'llm' })
    await services.start('here')
    await polyphony.close()
    expect(existsSync(dataDir)).toBe(false)
  })
})
