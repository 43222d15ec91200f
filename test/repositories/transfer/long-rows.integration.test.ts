import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { exportDatabase, importDatabase, openStore } from '../../../src/repositories/database.ts'
import { rejection } from '../../support/caught.ts'
import { openTestPostgres, type TestPostgres } from '../../support/postgres.ts'
import { exportText, importText, rowLines, withRows } from '../../support/transfer.ts'

const MAX_BYTES_PER_LINE = 1_000
const SIZES = [1, 999, 1_000, 1_001, 2_000, 3_500]

const hashOf = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex')

async function addFile(url: string, data: Uint8Array): Promise<void> {
  const store = await openStore({ url })
  const facts = { name: 'file', mediaType: 'image/png', byteLength: data.byteLength, sha256: hashOf(data) }
  await store.files.add({ id: randomUUID(), userId: 'ada', ...facts, createdAt: new Date(0) }, data)
  await store.close()
}

async function target(): Promise<string> {
  const database = await openTestPostgres()
  onTestFinished(() => database.drop())
  const store = await openStore({ url: database.url })
  await store.close()
  return database.url
}

const contents = SIZES.map((size) => randomBytes(size))
let source: TestPostgres
let file: string
beforeAll(async () => {
  source = await openTestPostgres()
  for (const data of contents) await addFile(source.url, data)
  file = await exportText(source.url, false, MAX_BYTES_PER_LINE)
})
afterAll(() => source?.drop())

test('bytes above the bound of a line continue in further lines, and come back as they were', async () => {
  const lines = rowLines(file)
  expect(Math.max(...lines.map(({ length }) => length))).toBeLessThan(2 * MAX_BYTES_PER_LINE + 200)
  expect(lines.filter((line) => line.startsWith('{"kind":"bytes","bytes":'))).toHaveLength(1 + 1 + 3)
  const url = await target()
  expect(await importText(url, file)).toMatchObject({ bytes: { imported: SIZES.length, skipped: 0 } })
  expect(await importText(url, file)).toMatchObject({ bytes: { imported: 0, skipped: SIZES.length } })
  const store = await openStore({ url })
  onTestFinished(() => store.close())
  for (const data of contents)
    expect(hashOf((await store.files.readContent(hashOf(data))) ?? new Uint8Array())).toBe(hashOf(data))
})

const isLong = (line: string) => line.includes('"further":3')
const change = (damage: (lines: string[], at: number) => void) => (): string => {
  const lines = [...rowLines(file)]
  damage(lines, lines.findIndex(isLong))
  const damaged = withRows(file, lines)
  // Further lines are no rows of their own.
  return damaged.replace(/"bytes":\d+/, `"bytes":${SIZES.length}`)
}

test.each([
  ['a missing further line', change((lines, at) => lines.splice(at + 3, 1)), /expected 1 further lines with bytes/],
  ['a further line too many', change((lines, at) => lines.splice(at + 3, 0, lines[at + 3] ?? '')), /"kind" and "row"/],
  [
    'two further lines in another order',
    change((lines, at) => lines.splice(at + 1, 2, ...lines.slice(at + 1, at + 3).reverse())),
    /SHA-256/,
  ],
  [
    'no number of further lines',
    change((lines, at) => lines.splice(at, 1, (lines[at] ?? '').replace('"further":3', '"further":"x"'))),
    /number of further lines/,
  ],
])('a file with %s is refused', async (_name, text, message) => {
  expect(await rejection(importText(await target(), text()))).toMatchObject({
    code: 'INPUT_INVALID',
    message: expect.stringMatching(message),
  })
})

test('a file of 100 MB passes through both ways', { timeout: 300_000 }, async () => {
  const large = await openTestPostgres()
  onTestFinished(() => large.drop())
  const data = randomBytes(100_000_000)
  await addFile(large.url, data)
  const url = await target()
  let longest = 0
  await exportDatabase(
    large.url,
    async (chunks) => {
      async function* encoded() {
        for await (const chunk of chunks) {
          longest = Math.max(longest, chunk.length)
          yield Buffer.from(chunk)
        }
      }
      expect(await importDatabase(url, encoded())).toMatchObject({ bytes: { imported: 1 }, file: { imported: 1 } })
    },
    { program: 'test', includeRunning: false },
  )
  expect(longest).toBeLessThan(10_000_000)
  const store = await openStore({ url })
  onTestFinished(() => store.close())
  expect(hashOf((await store.files.readContent(hashOf(data))) ?? new Uint8Array())).toBe(hashOf(data))
})
