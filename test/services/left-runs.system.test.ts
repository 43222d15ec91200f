import { afterEach, beforeEach, expect, test } from 'vitest'
import { serviceSchema } from '../../src/domain/services/service-schema.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { termsOf } from '../../src/services/bodies.ts'
import { createProcessWorld, type ProcessWorld, programPath, until } from './process-world.ts'
import { openServiceWorld } from './service-world.ts'
import { endSupervisors, startSupervisor } from './supervisor-process.ts'

let world: ProcessWorld
beforeEach(() => {
  world = createProcessWorld()
})
afterEach(async () => {
  await endSupervisors()
  await world.close()
})

const definitionOf = (id: string) =>
  serviceSchema.parse({ id, type: 'agent', executable: [programPath('lasting.sh')], orphans: 'adopt', minUptimeMs: 0 })
const pidsOf = async () => (await world.processes()).map(({ pid }) => pid).toSorted((one, other) => one - other)

/** Leaves a run of each service behind, as a supervisor does that is killed. */
async function leave(...ids: readonly string[]): Promise<readonly (number | undefined)[]> {
  const services = ids.map((id) => world.serviceOf([programPath('lasting.sh')], { id, ...termsOf(definitionOf(id)) }))
  const supervisor = startSupervisor({ dataDir: world.dataDir, services })
  const report = await supervisor.reported
  await supervisor.kill()
  return report?.type === 'up' ? report.pids : []
}

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
