import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { isSameProcess } from '../../src/system/process-table.ts'
import { createProcessWorld, nodeProgram, type ProcessWorld, programPath, stopRun, until } from '../services/process-world.ts'
import { endSupervisors, startSupervisor } from '../services/supervisor-process.ts'
import { casesOf, SEED } from '../support/scale.ts'
import { barOf, endPlainProcesses, percentile } from './machine-control.ts'
import { createRandom } from './random.ts'

const KILLS = Number(process.env.CHAOS_SERVICE_KILLS ?? casesOf(50, 2))
const ADOPTIONS = casesOf(20, 2)
/** Folders with a supervisor each that are killed at the same time. */
const LANES = 4
/** The most that the next supervisor may take to end or to adopt what was left. */
const ORPHANS_MS = 1_000
const ADOPTED_MS = 2_000
const EXIT_SEEN_MS = 1_500
const timeout = 120_000 + KILLS * 30_000

let worlds: ProcessWorld[]
const random = createRandom(SEED)
const openWorld = (): ProcessWorld => {
  const world = createProcessWorld()
  worlds.push(world)
  return world
}
beforeEach(() => {
  worlds = []
})
afterEach(async () => {
  await endSupervisors()
  await Promise.all(worlds.map((world) => world.close()))
})

/** Runs the lanes beside each other, with the number of kills of each. */
async function inLanes(run: (kills: number) => Promise<void>): Promise<void> {
  const lanes = Math.min(LANES, KILLS)
  const killsOf = (lane: number) => Math.floor(KILLS / lanes) + (lane < KILLS % lanes ? 1 : 0)
  await Promise.all(Array.from({ length: lanes }, (_, lane) => run(killsOf(lane))))
}

test(`after ${KILLS} kills of the supervisor at any moment one copy of each service runs, and no other process was signalled`, {
  timeout,
}, async () => {
  const bystanders = openWorld()
  const bystander = await bystanders.start(bystanders.openDriver(), bystanders.serviceOf([programPath('lasting.sh')]))
  await bystander.ready()
  const tookMs: number[] = []
  const controlMs: number[] = []
  await inLanes(async (kills) => {
    const world = openWorld()
    const services = ['tree.sh', 'lasting.sh', 'stubborn.sh'].map((program) =>
      world.serviceOf([programPath(program)], { id: program.replace('.sh', '') }),
    )
    const task = { dataDir: world.dataDir, services }
    let supervisor = startSupervisor(task)
    for (let kill = 0; kill < kills; kill++) {
      // Some die while they start, some in the middle of the adoption, some when everything runs.
      await Promise.race([supervisor.reported.then(() => sleep(random() * 50)), sleep(random() * 500)])
      await supervisor.kill()
      const before = await world.processes()
      supervisor = startSupervisor(task)
      const report = await supervisor.reported
      if (report?.type !== 'up') throw new Error('the supervisor did not start')
      tookMs.push(report.adoptionMs)
      controlMs.push(await endPlainProcesses())
      await until('the trees have grown', async () => (await world.processes()).length >= 11)
      expect(before.filter(isSameProcess).map(({ pid }) => pid)).toEqual([])
      // The three programs, and the process of the tree that has a session of its own.
      const leaders = (await world.processes()).filter(({ pid, group }) => pid === group).map(({ pid }) => pid)
      expect(leaders).toHaveLength(4)
      expect(leaders).toEqual(expect.arrayContaining([...report.pids]))
    }
    await supervisor.kill()
    const driver = world.openDriver()
    await driver.adopt((id) => services.find((service) => service.id === id))
    expect(await world.processes()).toEqual([])
  })
  const [took, control] = [percentile(tookMs, 0.95), percentile(controlMs, 0.95)]
  console.log(
    `what was left was ended within ${took.toFixed(0)} ms; the machine ends plain processes in ${control.toFixed(0)} ms`,
  )
  expect(took).toBeLessThan(barOf(ORPHANS_MS, control))
  expect((await bystanders.processes()).map(({ pid }) => pid)).toEqual([bystander.run.process?.pid])
  await stopRun(bystander.run)
})

test(`${KILLS} supervisors that die before they record a process: each process is found`, { timeout }, () =>
  inLanes(async (kills) => {
    const world = openWorld()
    const service = world.serviceOf([programPath('stubborn.sh')])
    for (let kill = 0; kill < kills; kill++) {
      await startSupervisor({ dataDir: world.dataDir, services: [service], diesAtSpawn: true }).ended
      const driver = world.openDriver()
      expect(await driver.adopt(() => service)).toMatchObject([{ outcome: 'ended' }])
      expect(await world.processes()).toEqual([])
      await driver.close()
    }
  }),
)

test(`an adopted writer of 1,000 lines a second loses none over ${ADOPTIONS} kills of its supervisor`, { timeout }, async () => {
  const world = openWorld()
  const service = world.serviceOf(nodeProgram('numbers.mjs', '1000'), { orphans: 'adopt' })
  let pid: number | undefined
  const tookMs: number[] = []
  const controlMs: number[] = []
  for (let kill = 0; kill < ADOPTIONS; kill++) {
    const supervisor = startSupervisor({ dataDir: world.dataDir, services: [service] })
    const report = await supervisor.reported
    if (report?.type !== 'up') throw new Error('the supervisor did not start')
    pid ??= report.pids[0]
    expect(report.pids).toEqual([pid])
    tookMs.push(report.adoptionMs)
    controlMs.push(await endPlainProcesses())
    await sleep(random() * 500)
    await supervisor.kill()
  }
  const driver = world.openDriver()
  const [left] = await driver.adopt(() => service)
  if (left?.outcome !== 'adopted' || pid === undefined) throw new Error(`the writer was ${left?.outcome}`)
  expect(left.run.process?.pid).toBe(pid)
  const killedMs = performance.now()
  process.kill(pid, 'SIGKILL')
  await left.run.ended
  const seenMs = performance.now() - killedMs
  let next = 0
  for await (const { text } of driver.logs('one', { lines: 10_000_000 })) expect(text).toBe(`line ${next++}`)
  const control = percentile(controlMs, 0.95)
  console.log(
    `${next} lines over ${ADOPTIONS} kills, adopted within ${percentile(tookMs, 0.95).toFixed(0)} ms, exit seen after ${seenMs.toFixed(0)} ms`,
  )
  expect(next).toBeGreaterThan(ADOPTIONS * 100)
  expect(percentile(tookMs, 0.95)).toBeLessThan(barOf(ADOPTED_MS, control))
  expect(seenMs).toBeLessThan(barOf(EXIT_SEEN_MS, control))
})
