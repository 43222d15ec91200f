import { randomUUID } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, rmdirSync, rmSync, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { getPriority } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { isPortFree } from '../../src/system/ports.ts'
import { createProcessTable } from '../../src/system/process-table.ts'
import { createProcessWorld, nodeProgram, type ProcessWorld, programPath, stopRun, until } from './process-world.ts'

let world: ProcessWorld
beforeEach(() => {
  world = createProcessWorld()
})
afterEach(() => world.close())

const signal = new AbortController().signal
const sh = (script: string): readonly [string, ...string[]] => ['sh', '-c', script]

test('a program runs in its directory with its environment only, its arguments unread by a shell', async () => {
  const driver = world.openDriver()
  const show =
    'process.stdout.write(JSON.stringify({ cwd: process.cwd(), args: process.argv.slice(1), env: process.env }) + "\\n")'
  const hostile = ['$(touch owned)', '; exit 3', '`id`', '-c', '../..', '*']
  const { run, lines } = await world.start(
    driver,
    world.serviceOf([process.execPath, '-e', show, '--', ...hostile], { cwd: '/', environment: { OWN: 'value' } }),
  )
  expect(await run.ended).toMatchObject({ code: 0 })
  const shown = JSON.parse(lines[0] ?? '')
  expect(shown).toMatchObject({ cwd: '/', args: hostile, env: { OWN: 'value', POLYPHONY_SERVICE_RUN: run.runId } })
  expect(Object.keys(shown.env).sort()).toEqual(['OWN', 'PATH', 'POLYPHONY_SERVICE_RUN', 'POLYPHONY_TEST_WORLD'])
})

test('an exit has the code of the program or the signal that ended it', async () => {
  const driver = world.openDriver()
  const exitOf = async (script: string) => {
    const { run } = await world.start(driver, world.serviceOf(sh(script)))
    return run.ended
  }
  expect(await exitOf('exit 0')).toMatchObject({ code: 0 })
  expect(await exitOf('exit 143')).toMatchObject({ code: 143 })
  const crash = await exitOf('kill -SEGV $$')
  expect(crash).toMatchObject({ signal: 'SIGSEGV' })
  expect(crash).not.toHaveProperty('code')
})

test('a start fails before anything runs if its program, directory or permission is missing', async () => {
  const driver = world.openDriver()
  const start = (command: readonly [string, ...string[]], more = {}) =>
    driver.start(world.serviceOf(command, more), { runId: randomUUID(), signal })
  await expect(start(['no-such-program'])).rejects.toMatchObject({
    code: 'SERVICE_START_FAILED',
    message: expect.stringContaining('no-such-program was not found in the PATH'),
  })
  await expect(start(['sh'], { cwd: '/no/such/directory' })).rejects.toMatchObject({
    code: 'SERVICE_START_FAILED',
    message: expect.stringContaining('/no/such/directory does not'),
  })
  await expect(start([programPath('numbers.py')])).rejects.toMatchObject({ code: 'SERVICE_START_FAILED' })
  await expect(start(['/'])).rejects.toMatchObject({ code: 'SERVICE_START_FAILED' })
  await expect(start(sh('exit'), { id: '../escape' })).rejects.toMatchObject({ code: 'SERVICE_INVALID' })
  await expect(start(['sh', 'a\0b'])).rejects.toMatchObject({ code: 'SERVICE_START_FAILED' })
  expect(existsSync(join(world.dataDir, 'run', 'one.json'))).toBe(false)
  expect(await world.processes()).toEqual([])
})

test('files of a run are closed to other users while it runs and gone after it', async () => {
  const driver = world.openDriver()
  const { run, ready } = await world.start(driver, world.serviceOf([programPath('lasting.sh')]))
  await ready()
  const path = (name: string) => join(world.dataDir, name)
  const modes = ['run/one.json', 'run/one.out', 'logs/one.log'].map((name) => statSync(path(name)).mode & 0o777)
  expect(modes).toEqual([0o600, 0o600, 0o600])
  expect(statSync(path('run')).mode & 0o777).toBe(0o700)
  expect(readFileSync(path('run/one.pid'), 'utf8')).toBe(`${run.process?.pid}\n`)
  await stopRun(run)
  for (const name of ['run/one.json', 'run/one.out', 'run/one.pid']) expect(existsSync(path(name)), name).toBe(false)
})

test('a service that ignores SIGTERM runs until it is killed', async () => {
  const driver = world.openDriver()
  const { run, ready } = await world.start(driver, world.serviceOf([programPath('stubborn.sh')]))
  await ready()
  await run.requestStop()
  expect(await world.processes()).not.toEqual([])
  await run.kill()
  expect(await run.ended).toMatchObject({ signal: 'SIGKILL' })
  expect(await world.processes()).toEqual([])
})

test('a whole tree ends: reparented, in another session, deaf and without environment; a neighbour lives', async () => {
  const driver = world.openDriver()
  const neighbour = await world.start(driver, world.serviceOf([programPath('lasting.sh')], { id: 'two' }))
  const { run, ready } = await world.start(driver, world.serviceOf([programPath('tree.sh')]))
  await ready()
  // Six shells and their children, of which those without environment are seen by their group only.
  await until('the tree has grown', async () => ((await run.usage?.())?.processes ?? 0) >= 12)
  await stopRun(run)
  await neighbour.ready()
  const left = await world.processes()
  expect(left.map(({ pid }) => pid)).toEqual([neighbour.run.process?.pid])
  const everything = await createProcessTable('NONE').read()
  expect([...everything.values()].filter(({ group, ended }) => group === run.process?.pid && !ended)).toEqual([])
  await stopRun(neighbour.run)
})

test('a request to stop lets descendants finish that have left the group', async () => {
  const driver = world.openDriver()
  // The shell writes to its errors that the request ended its `sleep` as well.
  const last = "exec 2>/dev/null; trap 'sleep 0.2; echo finished; exit' TERM; echo ready; while :; do sleep 0.01; done"
  const { run, lines, ready } = await world.start(driver, world.serviceOf(sh(`setsid sh -c "${last}" & wait`)))
  await ready()
  await run.requestStop()
  await run.ended
  expect(lines).toEqual(['ready', 'finished'])
})

test('children of a leader that crashed are ended before the run counts as ended, and the port is free', async () => {
  const driver = world.openDriver()
  const port = await driver.allocatePort()
  for (let start = 0; start < 3; start++) {
    const service = world.serviceOf(nodeProgram('leader-dies.mjs'), { port, environment: { PORT: String(port) } })
    const { run, lines } = await world.start(driver, service)
    expect(await run.ended).toMatchObject({ code: 1 })
    expect(lines).toContain('the child listens')
    expect(await world.processes()).toEqual([])
    expect(await isPortFree(port)).toBe(true)
  }
  driver.releasePort(port)
})

test('a process that cannot be killed is reported with its pid at the time limit, and others are stopped', async () => {
  const driver = world.openDriver({
    sendSignal: (pid, sent) => (Math.abs(pid) === refused ? undefined : process.kill(pid, sent)),
  })
  let refused = 0
  const stuck = await world.start(driver, world.serviceOf([programPath('lasting.sh')], { killTimeoutMs: 200 }))
  const other = await world.start(driver, world.serviceOf([programPath('lasting.sh')], { id: 'two' }))
  refused = stuck.run.process?.pid ?? 0
  await expect(stuck.run.kill()).rejects.toMatchObject({ code: 'SERVICE_UNKILLABLE', details: { pids: [refused] } })
  await other.run.kill()
  refused = 0
  await stuck.run.kill()
  expect(await stuck.run.ended).toMatchObject({ signal: 'SIGKILL' })
})

test('a port that another program has is refused before the start, with its pid', async () => {
  const driver = world.openDriver()
  const foreign = createServer((_request, response) => response.end('healthy'))
  await new Promise<void>((resolve) => foreign.listen(0, '127.0.0.1', resolve))
  const address = foreign.address()
  const port = typeof address === 'object' && address ? address.port : 0
  const service = world.serviceOf(nodeProgram('listener.mjs'), { port, environment: { PORT: String(port) } })
  await expect(world.start(driver, service)).rejects.toMatchObject({
    code: 'SERVICE_PORT_TAKEN',
    details: { port, pid: process.pid },
  })
  expect(await world.processes()).toEqual([])
  await new Promise((resolve) => foreign.close(resolve))
})

test('20 services that ask for a port at once get 20 different ones, and all listen', async () => {
  const driver = world.openDriver()
  const ports = await Promise.all(Array.from({ length: 20 }, () => driver.allocatePort()))
  expect(new Set(ports).size).toBe(20)
  const started = await Promise.all(
    ports.map((port, index) =>
      world.start(
        driver,
        world.serviceOf(nodeProgram('listener.mjs'), { id: `s${index}`, port, environment: { PORT: String(port) } }),
      ),
    ),
  )
  await Promise.all(started.map(({ ready }) => ready()))
  await Promise.all(started.map(({ run }) => stopRun(run, 5_000)))
})

test('memory of the whole tree is summed, and a leak meets a limit of the system', async () => {
  const driver = world.openDriver()
  const memoryBytes = 256 * 1_024 * 1_024
  const { run } = await world.start(driver, world.serviceOf(nodeProgram('leak.mjs'), { limits: { memoryBytes } }))
  expect(run.process?.limits).toEqual({ memory: 'rlimit+sampled', cpu: 'none' })
  let peak = 0
  let hasEnded = false
  void run.ended.then(() => {
    hasEnded = true
  })
  while (!hasEnded) {
    peak = Math.max(peak, (await run.usage?.(0))?.memoryBytes ?? 0)
  }
  expect((await run.ended).code).not.toBe(0)
  expect(peak).toBeLessThan(2.2 * memoryBytes)

  const split = await world.start(driver, world.serviceOf(nodeProgram('leak.mjs', '4'), { limits: { memoryBytes } }))
  await until('the sum passes the limit', async () => ((await split.run.usage?.(0))?.memoryBytes ?? 0) > memoryBytes)
  expect((await split.run.usage?.())?.processes).toBe(5)
  await split.run.kill()
})

test('a limit of processor time lowers the priority, and use is reported', async () => {
  const driver = world.openDriver()
  const { run, ready } = await world.start(driver, world.serviceOf(nodeProgram('busy.mjs'), { limits: { cpuPercent: 25 } }))
  expect(run.process?.limits).toEqual({ memory: 'none', cpu: 'priority' })
  await ready()
  expect(getPriority(run.process?.pid)).toBe(10)
  await until('its use is seen', async () => ((await run.usage?.())?.cpuPercent ?? 0) > 10)
  await run.kill()
  expect(await run.usage?.()).toBeUndefined()
})

test('a service is started once, and a folder has one supervisor', async () => {
  const driver = world.openDriver()
  const service = world.serviceOf([programPath('lasting.sh')])
  const { run } = await world.start(driver, service)
  await expect(world.start(driver, service)).rejects.toMatchObject({ code: 'SERVICE_START_FAILED' })
  await expect(world.openDriver().adopt(() => undefined)).rejects.toMatchObject({
    code: 'SERVICES_OWNED_ELSEWHERE',
    details: { pid: process.pid },
  })
  await stopRun(run)
})

test('a run whose files cannot be removed has ended nevertheless, and nothing else fails', async () => {
  const driver = world.openDriver()
  const { run, ready } = await world.start(driver, world.serviceOf([programPath('lasting.sh')]))
  await ready()
  const blocked = join(world.dataDir, 'run', 'one.pid')
  rmSync(blocked)
  mkdirSync(blocked)
  await stopRun(run)
  expect(await run.ended).toMatchObject({ signal: 'SIGTERM' })
  rmdirSync(blocked)
  const again = await world.start(driver, world.serviceOf([programPath('lasting.sh')]))
  await stopRun(again.run)
})

test('a program is refused on Windows', async () => {
  const driver = world.openDriver({ platform: 'win32' })
  const started = world.start(driver, world.serviceOf([programPath('lasting.sh')]))
  await expect(started).rejects.toMatchObject({ code: 'SERVICE_PLATFORM_UNSUPPORTED' })
  expect(existsSync(world.dataDir)).toBe(false)
})

test('a folder that other users may write is refused', async () => {
  mkdirSync(world.dataDir)
  chmodSync(world.dataDir, 0o777)
  await expect(world.start(world.openDriver(), world.serviceOf([programPath('lasting.sh')]))).rejects.toMatchObject({
    code: 'SERVICE_START_FAILED',
    message: expect.stringContaining('must not be writable by other users'),
  })
})
