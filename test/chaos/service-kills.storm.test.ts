import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { isSameProcess } from '../../src/system/process-table.ts'
import { createProcessWorld, type ProcessWorld, programPath, stopRun, until } from '../services/process-world.ts'
import { endSupervisors, startSupervisor } from '../services/supervisor-process.ts'
import { casesOf, SEED } from '../support/scale.ts'
import { createRandom } from './random.ts'

const KILLS = Number(process.env.CHAOS_SERVICE_KILLS ?? casesOf(20, 2))
const TREES = Number(process.env.CHAOS_SERVICE_TREES ?? casesOf(50, 3))
const PATIENCE_MS = 300
const timeout = 120_000 + (KILLS + TREES) * 15_000

let world: ProcessWorld
const random = createRandom(SEED)
beforeEach(() => {
  world = createProcessWorld()
})
afterEach(async () => {
  await endSupervisors()
  await world.close()
})

const numbers: readonly [string, ...string[]] = [process.execPath, programPath('numbers.mjs'), '1000']

test(`${TREES} trees that ignore SIGTERM leave nothing, and their neighbour lives`, { timeout }, async () => {
  const driver = world.openDriver()
  const neighbour = await world.start(driver, world.serviceOf([programPath('lasting.sh')], { id: 'neighbour' }))
  await neighbour.ready()
  const tookMs: number[] = []
  for (let tree = 0; tree < TREES; tree++) {
    const { run, ready } = await world.start(driver, world.serviceOf([programPath('tree.sh')]))
    await ready()
    await sleep(random() * 100)
    const startedMs = performance.now()
    await stopRun(run, PATIENCE_MS)
    tookMs.push(performance.now() - startedMs)
    expect((await world.processes()).map(({ pid }) => pid)).toEqual([neighbour.run.process?.pid])
  }
  const [median = 0] = tookMs.sort((one, other) => one - other).slice(Math.floor(tookMs.length / 2))
  console.log(
    `stopping a tree took ${median.toFixed(0)} ms, at most ${tookMs.at(-1)?.toFixed(0)} ms, with ${PATIENCE_MS} ms of patience`,
  )
  // 35 ms on a quiet machine.
  expect(median).toBeLessThan(PATIENCE_MS + 1_500)
  await stopRun(neighbour.run)
})

test(`after ${KILLS} kills of the supervisor at any moment one copy of each service runs, and no other process was signalled`, {
  timeout,
}, async () => {
  const services = ['tree.sh', 'lasting.sh', 'stubborn.sh'].map((program) =>
    world.serviceOf([programPath(program)], { id: program.replace('.sh', '') }),
  )
  const bystanders = createProcessWorld()
  const bystander = await bystanders.start(bystanders.openDriver(), bystanders.serviceOf([programPath('lasting.sh')]))
  await bystander.ready()
  for (let kill = 0; kill < KILLS; kill++) {
    const supervisor = startSupervisor({ dataDir: world.dataDir, services })
    // Some die while they start, some in the middle of the adoption, some when everything runs.
    await Promise.race([supervisor.reported.then(() => sleep(random() * 50)), sleep(random() * 2_500)])
    await supervisor.kill()
    const before = await world.processes()
    const next = startSupervisor({ dataDir: world.dataDir, services })
    expect(await next.reported).toMatchObject({ type: 'up' })
    await until('the trees have grown', async () => (await world.processes()).length >= 11)
    expect(before.filter(isSameProcess).map(({ pid }) => pid)).toEqual([])
    await next.kill()
  }
  const driver = world.openDriver()
  await driver.adopt((id) => services.find((service) => service.id === id))
  expect(await world.processes()).toEqual([])
  expect((await bystanders.processes()).map(({ pid }) => pid)).toEqual([bystander.run.process?.pid])
  await stopRun(bystander.run)
  await bystanders.close()
})

test(`${KILLS} supervisors that die before they record a process: each process is found`, { timeout }, async () => {
  const service = world.serviceOf([programPath('stubborn.sh')])
  for (let kill = 0; kill < KILLS; kill++) {
    await startSupervisor({ dataDir: world.dataDir, services: [service], diesAtSpawn: true }).ended
    const driver = world.openDriver()
    expect(await driver.adopt(() => service)).toMatchObject([{ outcome: 'ended' }])
    expect(await world.processes()).toEqual([])
    await driver.close()
  }
})

test(`an adopted writer of 1,000 lines a second loses none over ${KILLS} kills of its supervisor`, { timeout }, async () => {
  const service = world.serviceOf(numbers, { orphans: 'adopt' })
  let pid: number | undefined
  for (let kill = 0; kill < KILLS; kill++) {
    const supervisor = startSupervisor({ dataDir: world.dataDir, services: [service] })
    const report = await supervisor.reported
    if (report?.type !== 'up') throw new Error('the supervisor did not start')
    pid ??= report.pids[0]
    expect(report.pids).toEqual([pid])
    await sleep(random() * 500)
    await supervisor.kill()
  }
  const driver = world.openDriver()
  const [left] = await driver.adopt(() => service)
  if (left?.outcome !== 'adopted') throw new Error(`the writer was ${left?.outcome}`)
  expect(left.run.process?.pid).toBe(pid)
  await stopRun(left.run)
  let next = 0
  for await (const { text } of driver.logs('one', { lines: 10_000_000 })) expect(text).toBe(`line ${next++}`)
  console.log(`${next} lines over ${KILLS} kills`)
  expect(next).toBeGreaterThan(KILLS * 100)
})
