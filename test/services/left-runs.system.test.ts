import { afterEach, beforeEach, expect, test } from 'vitest'
import { serviceSchema } from '../../src/domain/services/service-schema.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { termsOf } from '../../src/services/bodies.ts'
import { createProcessWorld, type ProcessWorld, programPath, until } from './process-world.ts'
import { openServiceWorld } from './service-world.ts'
import { endSupervisors, leaveRuns } from './supervisor-process.ts'

let world: ProcessWorld
beforeEach(() => {
  world = createProcessWorld()
})
afterEach(async () => {
  await endSupervisors()
  await world.close()
})

const definitionOf = (id: string, more: object = {}) =>
  serviceSchema.parse({ id, type: 'agent', executable: [programPath('lasting.sh')], orphans: 'adopt', minUptimeMs: 0, ...more })
const pidsOf = async () => (await world.processes()).map(({ pid }) => pid).toSorted((one, other) => one - other)

/** Leaves a run of each service behind, as a supervisor does that is killed. */
const leaveRunsOf = (...definitions: readonly ReturnType<typeof definitionOf>[]) =>
  leaveRuns(
    world.dataDir,
    definitions.map((one) => world.serviceOf([programPath('lasting.sh')], { id: one.id, ...termsOf(one) })),
  )
const leave = (...ids: readonly string[]) => leaveRunsOf(...ids.map((id) => definitionOf(id)))

test('a start adopts the run of its own service only; that of a service whose file is read later lives and is adopted then', async () => {
  const [a, b] = await leave('a', 'b')
  const { services } = openServiceWorld({ process: world.openDriver() })
  try {
    await services.register(definitionOf('a'))
    expect(await services.start('a')).toMatchObject({ state: 'running', adopted: true, process: { pid: a } })
    expect(await pidsOf()).toEqual([a, b].toSorted((one = 0, other = 0) => one - other))
    await services.register(definitionOf('b'))
    expect(await services.start('b')).toMatchObject({ state: 'running', adopted: true, process: { pid: b } })
  } finally {
    await services.close()
  }
  expect(await pidsOf()).toEqual([])
})

test('the start of all reads the files first: known runs are adopted and run, that of a service without a file is ended', async () => {
  const [a, b] = await leave('a', 'b', 'old')
  const { services, events } = openServiceWorld({
    process: world.openDriver(),
    files: { services: [definitionOf('a'), definitionOf('b')], problems: [] },
  })
  try {
    await services.load()
    await services.start('a')
    await services.startAll()
    await until('all that was adopted runs', () => services.list().every(({ state }) => state === 'running'))
    expect(services.list()).toMatchObject([
      { id: 'a', adopted: true, process: { pid: a } },
      { id: 'b', adopted: true, process: { pid: b } },
    ])
    expect(await pidsOf()).toEqual([a, b].toSorted((one = 0, other = 0) => one - other))
    const outcomes = events.flatMap(({ type, subject, data }) =>
      type === 'service_orphan' && typeof data === 'object' && data ? [[subject, Reflect.get(data, 'outcome')]] : [],
    )
    expect(outcomes.toSorted()).toEqual([
      ['a', 'adopted'],
      ['b', 'adopted'],
      ['old', 'ended'],
    ])
  } finally {
    await services.close()
  }
})

test('while a file cannot be used no run is ended for want of its service; the next start of all without a problem ends it', async () => {
  const [, old] = await leave('a', 'old')
  const problem = new OrchestratorError('SERVICE_INVALID', 'old.yaml, line 1: expected a mapping')
  const startAll = async (problems: readonly OrchestratorError[]) => {
    const files = { services: [{ ...definitionOf('a'), start: 'manual' as const }], problems }
    const opened = openServiceWorld({ process: world.openDriver(), files })
    await opened.services.startAll()
    return opened
  }
  const first = await startAll([problem])
  expect(await pidsOf()).toContain(old)
  await first.services.close()
  expect(await pidsOf()).toEqual([old])
  await (await startAll([])).services.close()
  expect(await pidsOf()).toEqual([])
})

test('where no file can be used, the runs of another supervisor are not reported, and those of a dead one are', async () => {
  const files = { services: [], problems: [new OrchestratorError('SERVICE_INVALID', 'a.yaml, line 1: expected a mapping')] }
  const owner = openServiceWorld({ process: world.openDriver() })
  await owner.services.register(definitionOf('a'))
  await owner.services.start('a')
  const beside = openServiceWorld({ process: world.openDriver(), files })
  await beside.services.startAll()
  expect(reportsOf(beside.events)).toEqual([])
  await beside.services.close()
  await owner.services.close()
  const [old] = await leave('old')
  const later = openServiceWorld({ process: world.openDriver(), files })
  await later.services.startAll()
  expect(reportsOf(later.events)).toEqual([{ service: 'old', outcome: 'unclaimed', pids: expect.arrayContaining([old]) }])
  await later.services.close()
  expect(await pidsOf()).toEqual([old])
  const last = openServiceWorld({ process: world.openDriver() })
  await last.services.startAll()
  await last.services.close()
  expect(await pidsOf()).toEqual([])
})

/** Subject and data of what was reported about runs that were left. */
const reportsOf = (events: ReturnType<typeof openServiceWorld>['events']) =>
  events.flatMap(({ type, subject, data }) =>
    type === 'service_orphan' && typeof data === 'object' && data
      ? [{ service: subject, outcome: Reflect.get(data, 'outcome'), pids: Reflect.get(data, 'pids') }]
      : [],
  )

test('the start of one service takes over the runs of the others, ends those that may not live, and reports a run without a service', async () => {
  const definitions = [definitionOf('a'), definitionOf('b'), definitionOf('c', { orphans: 'stop' }), definitionOf('old')]
  const [a, b, c, old] = await leaveRunsOf(...definitions)
  const { services, events, until: untilEvents } = openServiceWorld({ process: world.openDriver() })
  try {
    for (const definition of definitions.slice(0, 3)) await services.register(definition)
    await services.start('a')
    await untilEvents(() => services.get('b').state === 'running' && reportsOf(events).length === 4)
    expect(services.get('b')).toMatchObject({ adopted: true, process: { pid: b } })
    expect(services.get('c').state).toBe('idle')
    expect(reportsOf(events).toSorted((one, other) => String(one.service).localeCompare(String(other.service)))).toEqual([
      { service: 'a', outcome: 'adopted', pids: undefined },
      { service: 'b', outcome: 'adopted', pids: undefined },
      { service: 'c', outcome: 'ended', pids: expect.arrayContaining([c]) },
      { service: 'old', outcome: 'unclaimed', pids: expect.arrayContaining([old]) },
    ])
    expect(await pidsOf()).toEqual([a, b, old].toSorted((one = 0, other = 0) => one - other))
    // Its service is defined after all: the run is watched from then on, without a command.
    await services.register(definitionOf('old'))
    await untilEvents(() => services.get('old').state === 'running')
    expect(services.get('old')).toMatchObject({ adopted: true, process: { pid: old } })
  } finally {
    await services.close()
  }
  expect(await pidsOf()).toEqual([])
})

test('the start of all ends what was left although no service is a program any more', async () => {
  await leave('old')
  const { services, events } = openServiceWorld({ process: world.openDriver() })
  try {
    await services.startAll()
    expect(reportsOf(events)).toMatchObject([{ service: 'old', outcome: 'ended' }])
    expect(await pidsOf()).toEqual([])
  } finally {
    await services.close()
  }
})

test('a run that continues is watched although a service that it depends on has failed', async () => {
  const dependent = definitionOf('a', { dependsOn: ['base'] })
  const [a] = await leaveRunsOf(dependent)
  const { services } = openServiceWorld({ process: world.openDriver(), settings: { restart: { maxRetries: 0 } } })
  try {
    await services.register({ id: 'base', type: 'agent', handlers: { start: () => Promise.reject(new Error('no')) } })
    await services.register(dependent)
    expect(await services.start('a')).toMatchObject({ state: 'running', adopted: true, process: { pid: a } })
    expect(services.get('base').state).toBe('failed')
  } finally {
    await services.close()
  }
  expect(await pidsOf()).toEqual([])
})
