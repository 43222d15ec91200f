import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import type { FlowDefinitionInput } from '../../src/domain/definition/flow-definition.ts'
import { checkServices } from '../../src/services/process/check-services.ts'
import type { ServiceInput } from '../../src/services/service.ts'
import { rejection } from '../support/caught.ts'
import { openTestPostgres, type TestPostgres } from '../support/postgres.ts'
import { createModelServers } from './model-servers.ts'

/** Against hanging; no test depends on it. */
const HANGING = { timeout: 60_000, interval: 50 }

const LOADER = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
const CHILD = fileURLToPath(new URL('./advertising-child.ts', import.meta.url))

let postgres: TestPostgres
let world: ReturnType<typeof createModelServers>
beforeAll(async () => {
  postgres = await openTestPostgres()
})
afterAll(() => postgres?.drop())
beforeEach(() => {
  world = createModelServers({ database: postgres.url })
})
afterEach(async () => expect(await world.end(), 'processes left behind').toBe(0))

const flow: FlowDefinitionInput = {
  name: 'one',
  type: 'sequential',
  steps: [{ id: 'draft', model: 'writer-1/small', action: 'generate' }],
}

const idle = { code: 'SERVICE_NOT_RUNNING', details: { service: 'writer-1', state: 'idle' } }

/** States in the table of services. */
async function rows(): Promise<readonly string[]> {
  const client = new pg.Client(postgres.url)
  await client.connect()
  try {
    const found = await client.query<{ state: string }>('select state from polyphony_services')
    return found.rows.map(({ state }) => state)
  } finally {
    await client.end()
  }
}

/** Two instances on one database, with the same service file and folders of their own for their programs. */
async function openBoth(more: Partial<ServiceInput> = {}, settings: object = {}) {
  world.writeFile(world.serverOf('writer-1', { advertise: 'http://127.0.0.1:{{port}}', start: 'manual', ...more }))
  const supervisor = await world.open()
  const other = await world.open({ services: { ...world.services, dataDir: join(world.folder, 'other'), ...settings } })
  return { supervisor, other }
}

test('a process uses the service that another one runs, until that one stops it', async () => {
  const { supervisor, other } = await openBoth()
  expect(await rejection(world.run(other, flow))).toMatchObject(idle)
  await supervisor.services.start('writer-1')
  const { steps } = await vi.waitFor(() => world.run(other, flow), HANGING)
  expect(steps[0]).toMatchObject({ provider: 'writer-1', output: 'word1 word2 word3 from writer-1.' })
  const { endpoint } = supervisor.services.get('writer-1')
  expect(other.services.get('writer-1')).toMatchObject({ state: 'running', endpoint, elsewhere: { address: endpoint } })
  expect(other.services.get('writer-1').process).toBeUndefined()
  expect(await world.processes()).toHaveLength(1)
  await supervisor.services.stop('writer-1')
  await vi.waitFor(async () => expect(await rejection(world.run(other, flow))).toMatchObject(idle), HANGING)
  expect(other.services.get('writer-1')).toMatchObject({ state: 'idle' })
  expect(other.services.get('writer-1').elsewhere).toBeUndefined()
})

test('a flow is checked against what another process runs', async () => {
  const { supervisor, other } = await openBoth()
  const check = () => other.orchestrator.checkFlow(flow, 'ada')
  expect(await check()).toMatchObject({ ok: false, problems: [{ code: 'SERVICE_NOT_RUNNING', path: 'steps[0].model' }] })
  await supervisor.services.start('writer-1')
  await vi.waitFor(async () => expect(await check()).toMatchObject({ ok: true, problems: [], warnings: [] }), HANGING)
})

test('a process that is opened later knows at once what others run, also before its first step', async () => {
  const { supervisor } = await openBoth()
  await supervisor.services.start('writer-1')
  await vi.waitFor(async () => expect(await rows()).toEqual(['running']), HANGING)
  const later = await world.open({ services: { ...world.services, dataDir: join(world.folder, 'later') } })
  expect(await later.orchestrator.checkFlow(flow, 'ada')).toMatchObject({ ok: true, warnings: [] })
  expect(later.services.list()).toMatchObject([{ id: 'writer-1', state: 'running', elsewhere: {} }])
})

test('of two processes that run a service one is used, and the other one when that stops', async () => {
  const { supervisor, other: second } = await openBoth()
  const third = await world.open({ services: { ...world.services, dataDir: join(world.folder, 'third') } })
  await supervisor.services.start('writer-1')
  await vi.waitFor(async () => expect(await rows()).toEqual(['running']), HANGING)
  await second.services.start('writer-1')
  const isAt = ({ services }: typeof second) => {
    const { endpoint } = services.get('writer-1')
    return vi.waitFor(async () => {
      await world.run(third, flow)
      expect(third.services.get('writer-1')).toMatchObject({ endpoint })
    }, HANGING)
  }
  await isAt(second)
  await second.services.stop('writer-1')
  await isAt(supervisor)
  expect(await world.processes()).toHaveLength(1)
})

test('a step waits for a service that another process starts again', async () => {
  const { supervisor, other } = await openBoth({ restart: { delayMs: 300, maxRetries: 5 } })
  await supervisor.services.start('writer-1')
  await vi.waitFor(() => world.run(other, flow), HANGING)
  const { process: before } = supervisor.services.get('writer-1')
  process.kill(before?.pid ?? 0, 'SIGKILL')
  const { steps } = await vi.waitFor(() => world.run(other, flow), HANGING)
  expect(steps[0]).toMatchObject({ output: 'word1 word2 word3 from writer-1.' })
  expect(supervisor.services.get('writer-1').process?.pid).not.toBe(before?.pid)
})

test('the row of an instance that is closed is gone', async () => {
  const { supervisor } = await openBoth()
  await supervisor.services.start('writer-1')
  await vi.waitFor(async () => expect(await rows()).toEqual(['running']), HANGING)
  await supervisor.close()
  expect(await rows()).toEqual([])
})

test('a refused advertise in a file is reported, and its service is not there', async () => {
  world.writeFile(world.serverOf('writer-1', { advertise: 'http://127.0.0.1:1/v1' }))
  const { services } = await world.open()
  const [problem] = await services.load()
  expect(problem).toMatchObject({ code: 'SERVICE_INVALID', message: expect.stringContaining('expected http://host:port') })
  expect(services.list()).toEqual([])
})

test('a check of the files finds a remote service that advertises itself', async () => {
  const remote = { id: 'far', type: 'llm', endpoint: 'http://127.0.0.1:1', advertise: 'http://127.0.0.1:1' }
  writeFileSync(join(world.services.dir, 'far.json'), JSON.stringify(remote), { mode: 0o600 })
  const message = 'advertise: expected it only for a program or code of this process: "far" is at its endpoint for all'
  expect(await checkServices(world.services.dir, false)).toEqual([{ service: 'far', ok: false, message }])
  const { services } = await world.open()
  expect(await services.load()).toMatchObject([{ code: 'SERVICE_INVALID', message }])
})

test('a service whose supervisor was killed is idle for the others as soon as that is known', async () => {
  world.writeFile(world.serverOf('writer-1', { advertise: 'http://127.0.0.1:{{port}}', start: 'manual' }))
  const config = { database: postgres.url, services: { ...world.services, dataDir: join(world.folder, 'killed') } }
  const killed = spawn(process.execPath, ['--import', LOADER, CHILD, JSON.stringify(config)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ended = once(killed, 'exit')
  try {
    const [told] = await Promise.race([once(killed.stdout, 'data'), ended])
    expect(String(told)).toBe('running\n')
    const other = await world.open()
    await vi.waitFor(() => world.run(other, flow), HANGING)
    killed.kill('SIGKILL')
    await ended
    await vi.waitFor(async () => expect(await rejection(world.run(other, flow))).toMatchObject(idle), HANGING)
    expect(other.services.get('writer-1')).toMatchObject({ state: 'idle' })
    for (const pid of await world.processes()) process.kill(pid, 'SIGKILL')
  } finally {
    killed.kill('SIGKILL')
  }
})
