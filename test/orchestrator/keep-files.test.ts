import { expect, test } from 'vitest'
import { CancellationToken } from '../../src/async/cancellation-token.ts'
import { createAttachments } from '../../src/conversations/attachments.ts'
import { FileService } from '../../src/conversations/file-service.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { keepFiles } from '../../src/orchestrator/files/keep-files.ts'
import { createMemoryStore } from '../../src/repositories/memory/memory-store.ts'
import type { FileRepository } from '../../src/repositories/repository.ts'

const PICTURE = { name: 'boat.png', mediaType: 'image/png', data: Uint8Array.from([1, 2, 3]) }
const away = new OrchestratorError('DATABASE_UNAVAILABLE', 'away')

/** Stores files; each of the first additions is done as `failing` does it. */
function setUp(...failing: ((add: () => Promise<unknown>) => Promise<never>)[]) {
  const { files } = createMemoryStore()
  const add: FileRepository['add'] = async (...given) => {
    await failing.shift()?.(() => files.add(...given))
    return files.add(...given)
  }
  const limits = { maxBytes: 1_000, maxBytesPerUser: 1_000 }
  const service = new FileService({ files: { ...files, add }, limits, permissions: { can: async () => false } })
  const run = { userId: 'ada', threadId: 'thread', cancellation: new CancellationToken() }
  return { run, service, keep: () => keepFiles(createAttachments(service), run, [PICTURE]) }
}

test('a file of an answer is stored once the database answers again', async () => {
  const { keep, service } = setUp(() => Promise.reject(away))
  const { files, notes } = await keep()
  expect(files).toMatchObject([{ name: 'boat.png', file: { byteLength: 3 } }])
  expect(notes).toEqual([])
  expect(await service.read(files[0]?.file?.id ?? '', 'ada')).toEqual(PICTURE.data)
})

test('an addition whose answer was lost leaves one file', async () => {
  const { keep, service } = setUp(async (add) => {
    await add()
    throw away
  })
  await keep()
  expect((await service.list('ada')).files).toHaveLength(1)
})

test('an error of the database is no note: the step fails with it', async () => {
  const refused = new OrchestratorError('INTERNAL', 'refused')
  const { keep } = setUp(() => Promise.reject(refused))
  await expect(keep()).rejects.toBe(refused)
})

test('the wait for the database ends when the flow is cancelled', async () => {
  const reason = new OrchestratorError('FLOW_CANCELLED', 'enough')
  const { keep, run } = setUp(() => {
    run.cancellation.cancel(reason)
    return Promise.reject(away)
  })
  await expect(keep()).rejects.toBe(reason)
})
