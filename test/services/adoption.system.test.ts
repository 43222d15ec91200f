import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createProcessTable, findStart, isSameProcess } from '../../src/system/process-table.ts'
import { findBootId, findPidNamespace } from '../../src/system/processes.ts'
import { createProcessWorld, nodeProgram, type ProcessWorld, programPath, readLines, stopRun, until } from './process-world.ts'
import { endSupervisors, leaveRuns, startSupervisor } from './supervisor-process.ts'

let world: ProcessWorld
beforeEach(() => {
  world = createProcessWorld()
})
afterEach(async () => {
  await endSupervisors()
  await world.close()
})

const recordPath = (id = 'one') => join(world.dataDir, 'run', `${id}.json`)

test('a run whose supervisor was killed is ended by the next one, which starts a single new copy', async () => {
  const service = world.serviceOf([programPath('tree.sh')])
  await leaveRuns(world.dataDir, [service])
  expect(await world.processes()).not.toEqual([])

  const driver = world.openDriver()
  const left = await driver.adopt(() => service)
  expect(left).toMatchObject([{ id: 'one', outcome: 'ended' }])
  expect(await world.processes()).toEqual([])
  const { run } = await world.start(driver, world.serviceOf([programPath('lasting.sh')]))
  await stopRun(run)
})

test('a start without an adoption before it ends the copy that is left', async () => {
  const service = world.serviceOf([programPath('lasting.sh')], { orphans: 'adopt' })
  await leaveRuns(world.dataDir, [service])
  const { run, ready } = await world.start(world.openDriver(), service)
  await ready()
  expect((await world.processes()).map(({ pid }) => pid)).toEqual([run.process?.pid])
  await stopRun(run)
})

test('an adopted run keeps its process and every line, is stopped as any other, and its exit is seen', async () => {
  const service = world.serviceOf(nodeProgram('numbers.mjs', '1000'), { orphans: 'adopt' })
  const pids = await leaveRuns(world.dataDir, [service])

  const driver = world.openDriver()
  const [left] = await driver.adopt(() => service)
  if (left?.outcome !== 'adopted') throw new Error(`the run was ${left?.outcome}, not adopted`)
  const { run } = left
  expect(run).toMatchObject({ adopted: true, process: { limits: { memory: 'none' } } })
  expect(pids).toEqual([run.process?.pid])
  const written = await readLines(driver, 'one', 3_000)
  expect(written).toEqual(written.map((_, index) => `line ${index}`))
  expect((await run.usage?.())?.processes).toBe(1)
  await stopRun(run)
  expect(await run.ended).not.toHaveProperty('code')
  expect(existsSync(recordPath())).toBe(false)
})

test('a run that cannot be ended is reported, keeps its record, and is not started a second time', async () => {
  const service = world.serviceOf([programPath('lasting.sh')], { killTimeoutMs: 100 })
  const pids = await leaveRuns(world.dataDir, [service])
  const powerless = world.openDriver({ sendSignal: () => {} })
  expect(await powerless.adopt(() => service)).toEqual([{ id: 'one', outcome: 'unkillable', pids }])
  await expect(world.start(powerless, service)).rejects.toMatchObject({ code: 'SERVICE_UNKILLABLE', details: { pids } })
  expect((await world.processes()).map(({ pid }) => pid)).toEqual(pids)
  await powerless.close()
  expect(await world.openDriver().adopt(() => service)).toMatchObject([{ outcome: 'ended', pids }])
})

const python = spawnSync('python3', ['--version']).status === 0
test.skipIf(!python)('a Python program waits while no supervisor reads, and loses no line', async () => {
  const command = ['python3', programPath('numbers.py'), '100000'] as const
  const service = world.serviceOf(command, { orphans: 'adopt' })
  const pids = await leaveRuns(world.dataDir, [service])
  const [pid = 0] = pids
  // A process that waits for room in a pipe uses no more time.
  let before = -1
  await until('the pipe is full', async () => {
    const cpuMs = (await createProcessTable('NONE').read()).get(pid)?.cpuMs
    if (cpuMs === undefined) throw new Error('the program has ended')
    const isWaiting = cpuMs === before
    before = cpuMs
    await sleep(40)
    return isWaiting
  })
  const driver = world.openDriver()
  const [left] = await driver.adopt(() => service)
  if (left?.outcome !== 'adopted') throw new Error('the run was not adopted')
  const written = await readLines(driver, 'one', 20_000)
  expect(written).toEqual(written.map((_, index) => `line ${index}`))
  await stopRun(left.run)
})

test('the exit of an adopted process ends its run', async () => {
  const service = world.serviceOf([programPath('lasting.sh')], { orphans: 'adopt' })
  await leaveRuns(world.dataDir, [service])
  const [left] = await world.openDriver().adopt(() => service)
  if (left?.outcome !== 'adopted') throw new Error('the run was not adopted')
  process.kill(left.run.process?.pid ?? 0, 'SIGKILL')
  expect((await left.run.ended).at).toBeInstanceOf(Date)
})

test('a run of another definition, or of one that is gone, is ended and not adopted', async () => {
  for (const terms of [undefined, { definitionHash: 'another' }]) {
    const service = world.serviceOf([programPath('lasting.sh')], { orphans: 'adopt' })
    await leaveRuns(world.dataDir, [service])
    const driver = world.openDriver()
    expect(await driver.adopt(() => terms && { ...service, ...terms })).toMatchObject([{ outcome: 'ended' }])
    expect(await world.processes()).toEqual([])
    await driver.close()
  }
})

test('a process whose supervisor died before it recorded it is found by its marker', async () => {
  const service = world.serviceOf([programPath('stubborn.sh')])
  const first = startSupervisor({ dataDir: world.dataDir, services: [service], diesAtSpawn: true })
  await first.ended
  const [orphan] = await until('the orphan runs', async () => {
    const found = await world.processes()
    return found.length > 0 && found
  })
  expect(JSON.parse(readFileSync(recordPath(), 'utf8'))).not.toHaveProperty('process')
  const [left] = await world.openDriver().adopt(() => service)
  expect(left).toMatchObject({ outcome: 'ended', pids: expect.arrayContaining([orphan?.pid]) })
})

test('a record that names another process, another boot, a refused pid or nothing readable is set aside; nothing is signalled', async () => {
  const bystander = await world.start(world.openDriver(), world.serviceOf([programPath('lasting.sh')], { id: 'bystander' }))
  const { pid = 0 } = bystander.run.process ?? {}
  const other = createProcessWorld()
  const sent: number[] = []
  const driver = other.openDriver({ sendSignal: (target) => sent.push(target) })
  mkdirSync(join(other.dataDir, 'run'), { recursive: true, mode: 0o700 })
  const actual = { pid, started: findStart(pid), boot: findBootId(), pidNamespace: findPidNamespace() }
  const limits = { memory: 'none', cpu: 'none' }
  const records: Readonly<Record<string, { reason: string; process: object }>> = {
    reused: { reason: 'other_process', process: { ...actual, started: `${findBootId()}/1` } },
    marked: { reason: 'other_process', process: actual },
    rebooted: { reason: 'other_boot', process: { ...actual, boot: randomUUID() } },
    container: { reason: 'other_boot', process: { ...actual, pidNamespace: 'pid:[1]' } },
    init: { reason: 'refused_pid', process: { ...actual, pid: 1, started: findStart(1) } },
    all: { reason: 'refused_pid', process: { ...actual, pid: -1 } },
    own: { reason: 'refused_pid', process: { ...actual, pid: process.pid, started: findStart(process.pid) } },
  }
  const base = { runId: randomUUID(), definitionHash: 'hash', orphans: 'stop', startedAt: new Date().toISOString() }
  for (const [id, { process: recorded }] of Object.entries(records)) {
    writeFileSync(join(other.dataDir, 'run', `${id}.json`), JSON.stringify({ ...base, id, process: { ...recorded, limits } }))
  }
  const whole = JSON.stringify({ ...base, id: 'torn' })
  writeFileSync(join(other.dataDir, 'run', 'torn.json'), whole.slice(0, whole.length / 2))
  writeFileSync(join(other.dataDir, 'run', 'renamed.json'), whole)

  const left = await driver.adopt(() => undefined)
  const expected = {
    ...Object.fromEntries(Object.entries(records).map(([id, { reason }]) => [id, reason])),
    torn: 'unreadable',
    renamed: 'unreadable',
  }
  expect(Object.fromEntries(left.map((run) => [run.id, run.outcome === 'set_aside' && run.reason]))).toEqual(expected)
  expect(sent).toEqual([])
  for (const run of left) if (run.outcome === 'set_aside') expect(existsSync(run.path)).toBe(true)
  expect(await driver.adopt(() => undefined)).toEqual([])
  expect(isSameProcess({ pid, started: actual.started ?? '' })).toBe(true)
  await stopRun(bystander.run)
  await other.close()
})

test('of ten supervisors at once one owns the folder; after it was killed another takes over', async () => {
  const task = { dataDir: world.dataDir, services: [] }
  const supervisors = Array.from({ length: 10 }, () => startSupervisor(task))
  const reports = await Promise.all(supervisors.map(async (supervisor) => ({ supervisor, report: await supervisor.reported })))
  const owners = reports.filter(({ report }) => report?.type === 'up')
  expect(owners).toHaveLength(1)
  const owner = owners[0]?.supervisor
  const refused = reports.flatMap(({ report }) => (report?.type === 'refused' ? [report.code] : []))
  expect(refused).toEqual(Array(9).fill('SERVICES_OWNED_ELSEWHERE'))
  const late = startSupervisor(task)
  expect(await late.reported).toEqual({ type: 'refused', code: 'SERVICES_OWNED_ELSEWHERE', pid: owner?.pid })
  await owner?.kill()
  const next = await Promise.all(Array.from({ length: 3 }, () => startSupervisor(task).reported))
  expect(next.map((report) => report?.type).toSorted()).toEqual(['refused', 'refused', 'up'])
})

test('when a supervisor exits, its services end with it, and those that are to be adopted live', async () => {
  const services = [
    world.serviceOf([programPath('lasting.sh')], { id: 'ends' }),
    world.serviceOf([programPath('lasting.sh')], { id: 'lives', orphans: 'adopt' }),
  ]
  const supervisor = startSupervisor({ dataDir: world.dataDir, services, exits: true })
  const report = await supervisor.reported
  await supervisor.ended
  const [, lives] = report?.type === 'up' ? report.pids : []
  await until('one process is left', async () => {
    const left = await world.processes()
    return left.length === 1 && left[0]?.pid === lives
  })
  await world.openDriver().adopt(() => undefined)
})
