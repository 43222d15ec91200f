import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { findStart } from '../../src/system/process-table.ts'
import { findProcessFacts } from '../../src/system/processes.ts'
import { readServerFile } from '../../src/system/server-file.ts'
import { send } from '../server/running-server.ts'
import { endLeftProcesses } from '../support/left-processes.ts'
import { type CommandLineResult, createCommandLine } from './command-line.ts'

const TIMEOUT = { timeout: 240_000 }
const isRunning = (pid: number): boolean => {
  const facts = findProcessFacts(pid)
  return facts !== undefined && !facts.ended
}

/** An empty folder with one service; whatever runs there at the end of the test is ended. */
function createFolder() {
  const { directory, run, remove } = createCommandLine()
  const dataDir = join(directory, '.polyphony')
  mkdirSync(join(directory, 'services'))
  const file = join(directory, 'services', 'lasting.yaml')
  const text = `id: lasting\ntype: agent\nminUptimeMs: 0\nexecutable: [${process.execPath}, -e, "setInterval(() => {}, 1000)"]\n`
  writeFileSync(file, text, { mode: 0o600 })
  onTestFinished(async () => {
    const server = readServerFile(dataDir)
    if (server) await run(['down', '--timeout', '10000'])
    await run(['down', '--orphans'])
    remove()
    // Whatever runs from this folder has it as its home.
    expect(await endLeftProcesses('HOME', directory), 'processes left behind').toEqual([])
  })
  const up = (...words: string[]) => run(['up', '--simulate', '--database', 'memory://', '--port', '0', '--json', ...words])
  const programOf = async (): Promise<number> => JSON.parse((await run(['show', 'lasting', '--json'])).stdout).process.pid
  return { directory, dataDir, file, run, up, programOf }
}
const pidOf = ({ stdout, stderr }: CommandLineResult): number => {
  expect(stdout, stderr).not.toBe('')
  return JSON.parse(stdout).pid
}

test('several starts of one folder at once leave one server, and all of them report it', TIMEOUT, async () => {
  const { up, programOf } = createFolder()
  const results = await Promise.all([up(), up(), up()])
  expect(results.map(({ exitCode, stderr }) => [exitCode, stderr])).toEqual(results.map(() => [0, expect.any(String)]))
  const pids = new Set(results.map(pidOf))
  expect(pids.size).toBe(1)
  expect(isRunning(await programOf())).toBe(true)
})

test('options of a server that runs already are said to change nothing', TIMEOUT, async () => {
  const { up, run } = createFolder()
  const first = pidOf(await up())
  const again = await up('--host', '127.0.0.1')
  expect([again.exitCode, pidOf(again)]).toEqual([0, first])
  expect(again.stderr).toContain('These options change nothing')
  expect(again.stderr).toContain('--host 127.0.0.1')
  expect(again.stderr).toContain('polyphony down')
  expect((await run(['up'])).stderr).toBe('')
})

test('a server that does not end when it is asked to is ended by force, and its services with it', TIMEOUT, async () => {
  const { up, run, dataDir, programOf } = createFolder()
  const server = pidOf(await up())
  const program = await programOf()
  process.kill(server, 'SIGSTOP')
  const ended = await run(['down', '--timeout', '300', '--json'])
  expect(ended.exitCode, ended.stderr).toBe(0)
  expect(JSON.parse(ended.stdout)).toMatchObject({ pid: server, forced: true, orphans: [{ id: 'lasting' }] })
  expect([isRunning(server), isRunning(program)]).toEqual([false, false])
  expect([existsSync(join(dataDir, 'server.json')), existsSync(join(dataDir, 'orchestrator.pid'))]).toEqual([false, false])
  expect(await run(['down'])).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('No server runs.') })
})

test('after a kill, the status comes from the files, and what was left is ended without a server', TIMEOUT, async () => {
  const { up, run, dataDir, programOf } = createFolder()
  const server = pidOf(await up())
  const program = await programOf()
  process.kill(server, 'SIGKILL')
  await expect.poll(() => isRunning(server), { timeout: 30_000 }).toBe(false)
  const status = await run(['status'])
  expect(status.exitCode).toBe(13)
  expect(status.stdout).toContain(`The server ${server} does not run any more.`)
  expect(status.stdout).toContain(`lasting: pid ${program}, still runs`)
  const ended = await run(['down', '--orphans', '--json'])
  expect(JSON.parse(ended.stdout)).toMatchObject({ orphans: [{ id: 'lasting' }] })
  expect(isRunning(program)).toBe(false)
  expect(existsSync(join(dataDir, 'server.json'))).toBe(false)
})

test('the next start after a kill ends what was left, and runs it anew', TIMEOUT, async () => {
  const { up, programOf } = createFolder()
  const first = pidOf(await up())
  const left = await programOf()
  process.kill(first, 'SIGKILL')
  const second = await up()
  expect([second.exitCode, pidOf(second) === first]).toEqual([0, false])
  expect([isRunning(left), isRunning(await programOf())]).toEqual([false, true])
})

test('a process that has the pid of a dead server by now is never signalled', TIMEOUT, async () => {
  const { run, up, dataDir } = createFolder()
  const stranger: ChildProcess = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' })
  onTestFinished(() => void stranger.kill('SIGKILL'))
  mkdirSync(dataDir, { mode: 0o700 })
  const dead = { url: 'http://127.0.0.1:9', pid: stranger.pid, started: 'boot:1', token: 'ctl_dead', ready: true }
  writeFileSync(join(dataDir, 'server.json'), JSON.stringify(dead), { mode: 0o600 })
  expect(await run(['down', '--timeout', '1000'])).toMatchObject({
    exitCode: 0,
    stdout: expect.stringContaining('No server runs.'),
  })
  writeFileSync(join(dataDir, 'server.json'), JSON.stringify(dead), { mode: 0o600 })
  const started = await up()
  expect(pidOf(started)).not.toBe(stranger.pid)
  expect(isRunning(stranger.pid ?? 0)).toBe(true)
})

test(
  'a file that others may have written names no server, so that nobody has a process of the operator ended',
  TIMEOUT,
  async () => {
    const { run, dataDir } = createFolder()
    const victim: ChildProcess = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' })
    onTestFinished(() => void victim.kill('SIGKILL'))
    const pid = victim.pid ?? 0
    // Everybody may read when a process was started.
    const forged = { url: 'http://127.0.0.1:9', pid, started: findStart(pid), token: 'ctl_forged', ready: true }
    mkdirSync(dataDir)
    onTestFinished(() => rmSync(dataDir, { recursive: true, force: true }))
    writeFileSync(join(dataDir, 'server.json'), JSON.stringify(forged))
    chmodSync(join(dataDir, 'server.json'), 0o666)
    for (const words of [['down', '--timeout', '300'], ['down', '--orphans'], ['status'], ['services', 'list']]) {
      const { exitCode, stderr } = await run(words)
      expect([exitCode, stderr], words.join(' ')).toEqual([3, expect.stringContaining('must not be writable by other users')])
    }
    expect(isRunning(pid)).toBe(true)
  },
)

test('SIGHUP with a file that cannot be used changes nothing and is in the log', TIMEOUT, async () => {
  const { up, directory, file, programOf } = createFolder()
  const { pid, url } = JSON.parse((await up()).stdout)
  const program = await programOf()
  const before = readFileSync(file, 'utf8')
  writeFileSync(file, `${before}executable: [/bin/sh]\n  - : {`, { mode: 0o600 })
  process.kill(pid, 'SIGHUP')
  const log = () => readFileSync(join(directory, '.polyphony/logs/orchestrator.log'), 'utf8')
  await expect.poll(log, { timeout: 30_000 }).toContain('a service file was not used')
  expect(await programOf()).toBe(program)
  expect((await send(url, 'GET', '/livez')).status).toBe(200)
})

test('one service runs in the foreground from its file, and ends with the command', TIMEOUT, async () => {
  const { run, directory } = createFolder()
  const file = join(directory, 'ticker.yaml')
  const text = `id: ticker\ntype: agent\nminUptimeMs: 0\nexecutable: [${process.execPath}, -e, "console.log('pid ' + process.pid); setInterval(() => {}, 1000)"]\n`
  writeFileSync(file, text, { mode: 0o600 })
  let program = 0
  await run(['services', 'run', file], {
    onOutput: (stdout, pid) => {
      const found = /^pid (\d+)$/m.exec(stdout)?.[1]
      if (found === undefined || program > 0) return
      program = Number(found)
      process.kill(pid, 'SIGTERM')
    },
  })
  expect(program).toBeGreaterThan(0)
  expect(isRunning(program)).toBe(false)
  chmodSync(file, 0o666)
  const refused = await run(['services', 'run', file])
  expect([refused.exitCode, refused.stdout, refused.stderr]).toEqual([2, '', expect.stringContaining('only its owner may write')])
})

test('service files are checked without a server, each problem with its place', TIMEOUT, async () => {
  const { run, directory } = createFolder()
  writeFileSync(join(directory, 'services', 'missing.yaml'), 'id: missing\ntype: agent\nexecutable: /no/such/program\n', {
    mode: 0o600,
  })
  const limited = 'id: limited\ntype: agent\nexecutable: [sleep, "1"]\nlimits: { cpu: 25% }\n'
  writeFileSync(join(directory, 'services', 'limited.yaml'), limited, { mode: 0o600 })
  const { exitCode, stdout } = await run(['services', 'check'])
  expect(exitCode).toBe(2)
  expect(stdout).toMatch(/✔ lasting: can start/)
  expect(stdout).toMatch(/✖ missing: .*\/no\/such\/program/)
  expect(stdout).toMatch(/! limited: cpu 25%: not enforced/)
})
