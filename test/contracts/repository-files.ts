import { createHash, randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { StoredFile } from '../../src/domain/users/file.ts'
import { instant } from '../support/stored-data.ts'
import type { StoreFixture } from './store-fixture.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

function newFile(text: string, given: Partial<StoredFile> = {}): { readonly file: StoredFile; readonly data: Uint8Array } {
  const data = bytes(text)
  const sha256 = createHash('sha256').update(data).digest('hex')
  const facts = { name: 'invoice.pdf', mediaType: 'application/pdf', byteLength: data.byteLength, sha256 }
  return { file: { id: randomUUID(), userId: `user-${randomUUID()}`, ...facts, createdAt: instant(1), ...given }, data }
}

/** What every store promises of files and their bytes. */
export function describeFiles({ store, thread }: StoreFixture): void {
  describe('files', () => {
    test('a file is read as it was added, with bytes of any value', async () => {
      const { file } = newFile('')
      const data = Uint8Array.from({ length: 256 }, (_, value) => value)
      const sha256 = createHash('sha256').update(data).digest('hex')
      const added = { ...file, sha256, byteLength: 256, name: 'Ünïcode \u{1f4c4}.bin' }
      await store().files.add(added, data)
      expect(await store().files.find([added.id, randomUUID()])).toEqual([added])
      const read = await store().files.readContent(sha256)
      expect(read && [...read]).toEqual([...data])
      expect(await store().files.readContent('0'.repeat(64))).toBeUndefined()
    })

    test('bytes stay while any file has them, and are removed some time after the last one', async () => {
      const text = randomUUID()
      const [first, second] = [newFile(text), newFile(text)]
      await store().files.add(first.file, first.data)
      await store().files.add(second.file, second.data)
      const pruneUnused = () => store().files.prune({ unusedBefore: instant(100) })
      expect(await store().files.remove(first.file.id)).toBe(true)
      expect(await store().files.remove(first.file.id)).toBe(false)
      await pruneUnused()
      expect(await store().files.readContent(second.file.sha256)).toBeDefined()
      expect(await store().files.remove(second.file.id)).toBe(true)
      await pruneUnused()
      expect(await store().files.readContent(second.file.sha256)).toBeUndefined()
    })

    test('files are listed per user, newest first, and their sizes are summed up', async () => {
      const userId = `user-${randomUUID()}`
      const added = []
      for (const second of [3, 1, 2]) {
        const { file, data } = newFile('x'.repeat(second), { userId, createdAt: instant(second) })
        await store().files.add(file, data)
        added.push(file)
      }
      const [newest, oldest, middle] = added
      expect(await store().files.list(userId, 2)).toEqual([newest, middle])
      expect(await store().files.list(userId, 5, { value: middle?.createdAt ?? null, id: middle?.id ?? '' })).toEqual([oldest])
      const again = newFile('xxx', { userId })
      expect(await store().files.add(again.file, again.data, 6)).toEqual({ outcome: 'added', usedBytes: 6 })
      const further = newFile('y', { userId })
      expect(await store().files.add(further.file, further.data, 6)).toEqual({ outcome: 'full', usedBytes: 6 })
      expect(await store().files.find([further.file.id])).toEqual([])
      expect(await store().files.readContent(further.file.sha256)).toBeUndefined()
    })

    test('additions at the same time do not exceed the limit of their user together', async () => {
      const userId = `user-${randomUUID()}`
      const outcomes = await Promise.all(
        Array.from({ length: 12 }, async () => {
          const { file, data } = newFile(randomUUID(), { userId })
          return (await store().files.add(file, data, 36 * 5)).outcome
        }),
      )
      expect(outcomes.filter((outcome) => outcome === 'added')).toHaveLength(5)
      expect(await store().files.list(userId, 20)).toHaveLength(5)
    })

    test('a file without bytes gets those that are stored under its hash', async () => {
      const text = randomUUID()
      const [first, second, other] = [newFile(text), newFile(text), newFile(randomUUID())]
      await store().files.add(first.file, first.data)
      expect((await store().files.add(second.file, undefined)).outcome).toBe('added')
      await store().files.remove(first.file.id)
      await store().files.prune({ unusedBefore: instant(100) })
      expect([...((await store().files.readContent(second.file.sha256)) ?? [])]).toEqual([...second.data])
      expect((await store().files.add(other.file, undefined)).outcome).toBe('missing')
      expect(await store().files.find([other.file.id])).toEqual([])
    })

    test('an addition that is repeated adds one file', async () => {
      const { file, data } = newFile(randomUUID())
      await store().files.add(file, data, data.byteLength)
      expect((await store().files.add(file, data, data.byteLength)).outcome).toBe('added')
      expect(await store().files.list(file.userId, 10)).toEqual([file])
    })

    test('files of a deleted thread are removed with it', async () => {
      const { id } = await thread()
      const { file, data } = newFile(randomUUID(), { threadId: id })
      await store().files.add(file, data)
      expect(await store().threads.delete(id)).toBe(true)
      expect(await store().files.find([file.id])).toEqual([])
    })

    test('files older than their retention are removed', async () => {
      const userId = `user-${randomUUID()}`
      const old = newFile('old', { userId, createdAt: new Date(1_000) })
      const fresh = newFile('fresh', { userId, createdAt: instant(1) })
      for (const { file, data } of [old, fresh]) await store().files.add(file, data)
      await store().files.prune({ filesBefore: new Date(2_000), unusedBefore: new Date(0) })
      expect(await store().files.list(userId, 10)).toEqual([fresh.file])
    })
  })
}
