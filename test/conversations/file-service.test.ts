import { createHash } from 'node:crypto'
import { describe, expect, test, vi } from 'vitest'
import { createAttachments } from '../../src/conversations/attachments.ts'
import { FileService } from '../../src/conversations/file-service.ts'
import { createMemoryStore } from '../../src/repositories/memory/memory-store.ts'

const PNG = Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52])
const bytes = (text: string) => new TextEncoder().encode(text)

function setUp({ readers = [] as readonly string[], maxBytes = 1_000, maxBytesPerUser = 1_500 } = {}) {
  const store = createMemoryStore()
  const clock = { ms: Date.UTC(2026, 0, 2) }
  const files = new FileService({
    files: store.files,
    limits: { maxBytes, maxBytesPerUser },
    permissions: { can: async (userId) => readers.includes(userId) },
    now: () => clock.ms++,
  })
  return { store, files, attach: createAttachments(files) }
}
const codeOf = (answer: Promise<unknown>) =>
  answer.then(
    () => 'accepted',
    (error: { code: string }) => error.code,
  )

describe('files of users', () => {
  test('a file is read back by its user, and is unknown to everyone else', async () => {
    const { files } = setUp()
    const { id } = await files.add('ada', { name: 'note.txt', data: bytes('Rain at noon.') })
    expect(new TextDecoder().decode(await files.read(id, 'ada'))).toBe('Rain at noon.')
    for (const answer of [files.get(id, 'eve'), files.read(id, 'eve'), files.remove(id, 'eve'), files.get('nothing', 'ada')]) {
      expect(await codeOf(answer)).toBe('FILE_NOT_FOUND')
    }
    await files.remove(id, 'ada')
    expect(await codeOf(files.get(id, 'ada'))).toBe('FILE_NOT_FOUND')
  })

  test('a file of a thread can be read by those who may read the thread, and removed by its user alone', async () => {
    const { files } = setUp({ readers: ['bob'] })
    const { id } = await files.add('ada', { name: 'note.txt', data: bytes('x') }, { threadId: 'thread' })
    expect(await files.get(id, 'bob')).toMatchObject({ name: 'note.txt', threadId: 'thread' })
    expect(await codeOf(files.get(id, 'eve'))).toBe('FILE_NOT_FOUND')
    expect(await codeOf(files.remove(id, 'bob'))).toBe('FILE_NOT_FOUND')
  })

  test.each([
    ['the bytes of an image', PNG, undefined, 'image/png'],
    ['the bytes of an image that claims no type', PNG, 'application/octet-stream', 'image/png'],
    ['UTF-8 text', bytes('Grüße'), undefined, 'text/plain'],
    ['other bytes', Uint8Array.from([0, 255, 1, 254]), undefined, 'application/octet-stream'],
    ['a given type with parameters', bytes('a,b'), 'Text/CSV; charset=utf-8', 'text/csv'],
  ])('the media type of %s is found', async (_name, data, mediaType, found) => {
    const { files } = setUp()
    expect(await files.add('ada', { name: 'file', data, mediaType })).toMatchObject({ mediaType: found })
  })

  test('files that are too large, empty or badly named are refused before they are stored', async () => {
    const { files } = setUp({ maxBytes: 10, maxBytesPerUser: 15 })
    expect(await codeOf(files.add('ada', { name: 'a', data: new Uint8Array(11) }))).toBe('FILE_TOO_LARGE')
    expect(await codeOf(files.add('ada', { name: 'a', data: new Uint8Array(0) }))).toBe('INPUT_INVALID')
    expect(await codeOf(files.add('ada', { name: 'a\nb', data: bytes('x') }))).toBe('INPUT_INVALID')
    expect(await codeOf(files.add('ada', { name: 'a', mediaType: 'nonsense', data: bytes('x') }))).toBe('INPUT_INVALID')
    await files.add('ada', { name: 'a', data: bytes('0123456789') })
    await expect(files.add('ada', { name: 'b', data: bytes('abcdefghij') })).rejects.toMatchObject({
      code: 'FILE_TOO_LARGE',
      details: { limit: 'maxBytesPerUser', used: 10 },
    })
    expect((await files.list('ada')).files).toHaveLength(1)
  })

  test('files are listed in pages that do not overlap', async () => {
    const { files } = setUp()
    for (const name of ['a', 'b', 'c']) await files.add('ada', { name, data: bytes(name) })
    await files.add('eve', { name: 'other', data: bytes('other') })
    const first = await files.list('ada', { limit: 2 })
    expect(first.files.map(({ name }) => name)).toEqual(['c', 'b'])
    const second = await files.list('ada', { limit: 2, cursor: first.nextCursor })
    expect(second).toMatchObject({ files: [{ name: 'a' }] })
    expect(second.nextCursor).toBeUndefined()
  })
})

describe('attachments', () => {
  test('bytes are stored with the thread, and the attachment refers to them', async () => {
    const { attach, files, store } = setUp()
    const [attachment] = await attach('ada', 'thread', [{ name: 'photo', data: PNG }])
    expect(attachment).toMatchObject({ name: 'photo', mediaType: 'image/png', file: { byteLength: PNG.length } })
    expect(await files.get(attachment?.file?.id ?? '', 'ada')).toMatchObject({ threadId: 'thread' })
    expect(await store.files.readContent(attachment?.file?.sha256 ?? '')).toEqual(PNG)
  })

  test('a stored file stays attached when its own entry is removed', async () => {
    const { attach, files } = setUp()
    const { id } = await files.add('ada', { name: 'photo.png', data: PNG })
    const [attachment] = await attach('ada', 'thread', [{ fileId: id }])
    await files.remove(id, 'ada')
    expect(attachment).toMatchObject({ name: 'photo.png', mediaType: 'image/png' })
    expect(await files.read(attachment?.file?.id ?? '', 'ada')).toEqual(PNG)
  })

  test('a file of another user cannot be attached', async () => {
    const { attach, files } = setUp()
    const { id } = await files.add('ada', { name: 'photo.png', data: PNG })
    expect(await codeOf(attach('eve', 'thread', [{ fileId: id }]))).toBe('FILE_NOT_FOUND')
  })

  test('a text file is stored once: the attachment has no text of its own', async () => {
    const { attach } = setUp()
    const [attachment] = await attach('ada', 'thread', [{ name: 'a.csv', mediaType: 'text/csv', data: bytes('a,b\n1,2') }])
    expect(attachment).toEqual({ name: 'a.csv', mediaType: 'text/csv', file: expect.objectContaining({ byteLength: 7 }) })
  })

  test('a file whose bytes are removed meanwhile is named in the error', async () => {
    const { attach, files, store } = setUp()
    const { id } = await files.add('ada', { name: 'photo.png', data: PNG })
    vi.spyOn(store.files, 'add').mockResolvedValue({ outcome: 'missing', usedBytes: 0 })
    await expect(attach('ada', 'thread', [{ fileId: id }])).rejects.toMatchObject({
      code: 'FILE_NOT_FOUND',
      details: { fileId: id },
    })
  })

  test('bytes that only claim to be text are refused before anything is stored', async () => {
    const { attach, files, store } = setUp()
    const sha256 = createHash('sha256').update(PNG).digest('hex')
    expect(await codeOf(attach('ada', 'thread', [{ name: 'a.csv', mediaType: 'text/csv', data: PNG }]))).toBe('INPUT_INVALID')
    expect(await store.files.readContent(sha256)).toBeUndefined()
    const { id } = await files.add('ada', { name: 'photo.png', data: PNG })
    expect(await codeOf(attach('ada', 'thread', [{ fileId: id, mediaType: 'text/csv' }]))).toBe('INPUT_INVALID')
  })

  test('a stored file that is attached many times is neither read nor stored again, and has one entry', async () => {
    const { attach, files, store } = setUp()
    const { id } = await files.add('ada', { name: 'photo.png', data: PNG })
    const read = vi.spyOn(store.files, 'readContent')
    const add = vi.spyOn(store.files, 'add')
    const attached = await attach(
      'ada',
      'thread',
      Array.from({ length: 50 }, () => ({ fileId: id })),
    )
    expect(attached).toHaveLength(50)
    expect(new Set(attached.map(({ file }) => file?.id)).size).toBe(1)
    expect(read).not.toHaveBeenCalled()
    expect(add.mock.calls.map(([, data]) => data)).toEqual([undefined])
  })

  test('the same bytes count once against the limit of their user', async () => {
    const { attach, files } = setUp({ maxBytesPerUser: PNG.length })
    const { id } = await files.add('ada', { name: 'photo.png', data: PNG })
    expect(await attach('ada', 'thread', [{ fileId: id }, { name: 'again', data: PNG }])).toHaveLength(2)
    expect(await codeOf(attach('ada', 'thread', [{ name: 'note', data: bytes('x') }]))).toBe('FILE_TOO_LARGE')
  })

  test('if one attachment is refused, none is stored', async () => {
    const { attach, files } = setUp()
    const given = [
      { name: 'note.txt', data: bytes('x') },
      { name: 'empty', data: bytes('') },
    ]
    expect(await codeOf(attach('ada', 'thread', given))).toBe('INPUT_INVALID')
    expect((await files.list('ada')).files).toEqual([])
  })
})
