import { existsSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openStore } from '../../src/repositories/database.ts'
import { lockDirectory } from '../../src/repositories/postgres/embedded/directory-lock.ts'
import { startWriter } from '../support/child-writer.ts'
import { newThread } from '../support/stored-data.ts'

const ROUNDS = Number(process.env.KILL_ROUNDS ?? 3)

let folder: string
let directory: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'polyphony-kill-'))
  directory = join(folder, 'data')
})
afterEach(() => rm(folder, { recursive: true, force: true }))

test(`an embedded database keeps all acknowledged writes when its process is killed ${ROUNDS} times`, {
  timeout: 300_000 + ROUNDS * 20_000,
}, async () => {
  const url = `pglite://${directory}`
  const told: string[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const writer = startWriter('write', url)
    await writer.told(1 + Math.floor(Math.random() * 60))
    told.push(...(await writer.kill()))
    const store = await openStore({ url })
    for (const line of told) {
      const [what, flowId = '', stepId] = line.split(' ')
      if (what === 'flow') expect(await store.flows.find(flowId), line).toBeDefined()
      if (what === 'event') {
        const [found] = await store.events.read({ afterSeq: Number(flowId) - 1 }, 1)
        expect({ seq: String(found?.seq), id: found?.id }, line).toEqual({ seq: flowId, id: stepId })
      }
      if (what === 'step')
        expect(
          (await store.flows.stepResults(flowId)).map((result) => result.stepId),
          line,
        ).toContain(stepId)
    }
    await store.close()
  }
  expect(told.filter((line) => line.startsWith('step')).length).toBeGreaterThan(0)
})

test('a database opens although a process was killed while creating it', { timeout: 300_000 }, async () => {
  const writer = startWriter('write', `pglite://${directory}`)
  while (!existsSync(join(directory, 'base'))) await sleep(20)
  const told = await writer.kill()
  expect(told).toEqual([])
  expect(await readdir(folder)).toContain('data.unfinished')
  const store = await openStore({ url: `pglite://${directory}` })
  await store.threads.create(newThread())
  await store.close()
  expect(await readdir(folder)).toEqual(['data'])
})

test('a directory that a running process holds is refused with the name of the process and the remedy', async () => {
  const holder = startWriter('hold', directory)
  await holder.told(1)
  const error = await openStore({ url: `pglite://${directory}` }).catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({ code: 'DATABASE_LOCKED', details: { pid: holder.pid, directory } })
  for (const part of [String(holder.pid), directory, 'DATABASE_URL']) expect(String(error)).toContain(part)
  await holder.kill()
  await (await lockDirectory(directory)).release()
})
