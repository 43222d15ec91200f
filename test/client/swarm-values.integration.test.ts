import { expect, test } from 'vitest'
import { SwarmInterface, WorkflowBuilder } from '../../src/client/client.ts'
import { runWorkflowServer } from '../server/swarm/workflow-server.ts'

const build = () => new WorkflowBuilder().addTask('a', 'qa', { task: 'x' }).build()

test('a watcher that throws or rejects disturbs neither the wait nor the process', async () => {
  const server = await runWorkflowServer(() => 'done')
  const swarm = new SwarmInterface(server.url)
  const unhandled: unknown[] = []
  const note = (error: unknown) => void unhandled.push(error)
  process.prependListener('unhandledRejection', note)
  const watchers = [
    () => {
      throw new Error('watcher')
    },
    () => Promise.reject(new Error('watcher')),
  ]
  for (const watcher of watchers)
    expect(await swarm.submitAndWait(build(), 60_000, watcher)).toMatchObject({ status: 'completed' })
  process.off('unhandledRejection', note)
  expect(unhandled).toEqual([])
})

test.each([Number.NaN, -1, '5', null])('the time %s is refused before anything starts', async (ms) => {
  const server = await runWorkflowServer(() => 'done')
  const swarm = new SwarmInterface(server.url)
  const submit: Promise<unknown> = Reflect.apply(swarm.submitAndWait, swarm, [build(), ms])
  await expect(submit).rejects.toMatchObject({ code: 'INPUT_INVALID', message: expect.stringContaining('timeoutMs') })
  expect(await swarm.listWorkflows()).toEqual([])
  expect(() => Reflect.construct(SwarmInterface, [server.url, undefined, ms])).toThrow(/pollMs: expected milliseconds from 1/)
})
