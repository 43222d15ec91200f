import { afterAll, beforeAll, expect, test } from 'vitest'
import { openStore } from '../../../src/repositories/database.ts'
import { readLines } from '../../../src/repositories/postgres/transfer/read-lines.ts'
import type { Store } from '../../../src/repositories/repository.ts'
import { rejection } from '../../support/caught.ts'
import { openTestPostgres, type TestPostgres } from '../../support/postgres.ts'
import { newClaim, newFlow, newMessage, newThread, stepResult, update } from '../../support/stored-data.ts'
import { exportText, importText, rowLines, withRows } from '../../support/transfer.ts'

let source: TestPostgres
let target: TestPostgres
let store: Store
let file: string
beforeAll(async () => {
  source = await openTestPostgres()
  target = await openTestPostgres()
  const filled = await openStore({ url: source.url })
  const thread = newThread()
  await filled.threads.create(thread)
  await filled.threads.addMessages([newMessage(thread.id)])
  await filled.permissions.set(thread.id, thread.userId, ['read'])
  const flow = newFlow(thread.id)
  await filled.journal.createFlow(flow)
  const claimed = await filled.journal.claim(newClaim(flow.id))
  if (!('epoch' in claimed)) throw new Error('expected to win the claim')
  await filled.journal.append({
    flowId: flow.id,
    epoch: claimed.epoch,
    results: [stepResult(flow.id, 'draft')],
    updates: [update(1)],
  })
  await filled.close()
  file = await exportText(source.url)
  store = await openStore({ url: target.url })
})
afterAll(async () => {
  await store?.close()
  await target?.drop()
  await source?.drop()
})

const lines = () => file.split('\n')
const header = (change: Record<string, unknown>): string => {
  const [first = '', ...rest] = lines()
  return [JSON.stringify({ ...JSON.parse(first), ...change }), ...rest].join('\n')
}
/** Changes the first row of a kind, with a trailer that fits. */
const row = (kind: string, change: (line: string) => string): string => {
  const rows = rowLines(file)
  const index = rows.findIndex((line) => line.startsWith(`{"kind":"${kind}"`))
  return withRows(
    file,
    rows.map((line, at) => (at === index ? change(line) : line)),
  )
}
const set = (kind: string, values: Record<string, unknown>): string =>
  row(kind, (line) => {
    const given: { row: object } = JSON.parse(line)
    return JSON.stringify({ ...given, row: { ...given.row, ...values } })
  })
const lineOf = (kind: string): number => 2 + rowLines(file).findIndex((line) => line.startsWith(`{"kind":"${kind}"`))

const FILES: readonly (readonly [name: string, text: () => string | Uint8Array, line: () => number, message: RegExp])[] = [
  ['an empty file', () => '', () => 1, /was cut/],
  ['another file', () => '{"name":"flow"}\n', () => 1, /header/],
  ['a file that is not JSON', () => 'name: flow\n', () => 1, /JSON object/],
  ['a newer format', () => header({ formatVersion: 99 }), () => 1, /format version 1, found 99/],
  [
    'a newer schema',
    () => header({ migrations: [...JSON.parse(lines()[0] ?? '').migrations, 'X1'] }),
    () => 1,
    /newer version \(X1\)/,
  ],
  ['an older schema', () => header({ migrations: [] }), () => 1, /earlier version/],
  ['a file that ends after its header', () => `${lines()[0]}\n`, () => 2, /was cut/],
  ['a file without its last line', () => file.slice(0, file.lastIndexOf('{"end"')), () => lines().length - 1, /was cut/],
  ['a file that was cut in a line', () => file.slice(0, file.indexOf('"kind":"flow"') + 40), () => lineOf('flow'), /cut/],
  ['a line after the end', () => `${file}\n`, () => lines().length, /further line/],
  [
    'a row too few',
    () => file.replace(/\{"kind":"update".*\n/, ''),
    () => lines().length - 2,
    /1 rows of kind "update", found 0/,
  ],
  ['a changed text', () => file.replace('Output of draft', 'Output of DRAFT'), () => lines().length - 1, /checksum/],
  ['line ends of Windows', () => file.replaceAll('\n', '\r\n'), () => 1, /CR LF/],
  ['a byte order mark', () => `\ufeff${file}`, () => 1, /byte order mark/],
  [
    'bytes that are not UTF-8',
    () => Buffer.concat([Buffer.from(`${lines()[0]}\n`), Buffer.from([0xc3, 0x28, 0x0a])]),
    () => 2,
    /UTF-8/,
  ],
  ['NUL as an escape', () => set('message', { content: 'a\0b' }), () => lineOf('message'), /NUL/],
  ['NUL as a byte', () => row('message', (line) => line.replace('Hello', 'He\0llo')), () => lineOf('message'), /JSON object/],
  ['a lone surrogate', () => set('message', { content: 'a\ud800b' }), () => lineOf('message'), /lone surrogate/],
  ['NUL inside JSON', () => set('message', { metadata: { a: ['\0'] } }), () => lineOf('message'), /NUL/],
  [
    'a number for a text',
    () => set('thread', { title: 7 }),
    () => lineOf('thread'),
    /thread: title: expected a text, found another number/,
  ],
  ['null for a text', () => set('thread', { user_id: null }), () => lineOf('thread'), /user_id: expected a text, found null/],
  [
    'a text for a number',
    () => set('result', { iteration: '1' }),
    () => lineOf('result'),
    /iteration: expected an integer of 32 bits/,
  ],
  [
    'a fraction for an integer',
    () => set('result', { retry_count: 0.5 }),
    () => lineOf('result'),
    /retry_count: expected an integer/,
  ],
  [
    'a number out of range',
    () => set('flow', { owner_epoch: 2 ** 31 }),
    () => lineOf('flow'),
    /owner_epoch: expected an integer of 32 bits/,
  ],
  ['another id', () => set('flow', { id: 'abc' }), () => lineOf('flow'), /id: expected a UUID/],
  [
    'another instant',
    () => set('flow', { created_at: 'yesterday' }),
    () => lineOf('flow'),
    /created_at: expected an ISO 8601 instant/,
  ],
  [
    'a list of other items',
    () => set('permission', { rights: [1] }),
    () => lineOf('permission'),
    /rights: expected a list, each item a text/,
  ],
  [
    'a missing column',
    () => row('thread', (line) => line.replace('"title"', '"other"')),
    () => lineOf('thread'),
    /title: expected a text, found nothing/,
  ],
  ['a foreign column', () => set('thread', { is_admin: true }), () => lineOf('thread'), /found "is_admin"/],
  [
    'a foreign kind',
    () => row('thread', (line) => line.replace('"thread"', '"owner"')),
    () => lineOf('thread'),
    /kind: expected one of definition, /,
  ],
  [
    'a row that is a list',
    () => row('thread', () => '{"kind":"thread","row":[]}'),
    () => lineOf('thread'),
    /row: expected an object, found a list/,
  ],
  ['a line without a row', () => row('thread', () => '{"kind":"thread"}'), () => lineOf('thread'), /"kind" and "row"/],
  ['a definition under another hash', () => set('definition', { json: '{}' }), () => lineOf('definition'), /SHA-256/],
  ['rows in another order', () => withRows(file, [...rowLines(file)].reverse()), () => 3, /no more rows of this kind/],
]

test.each(FILES)('%s is refused with the number of the line, and nothing is imported', async (_name, text, line, message) => {
  const error = await rejection(importText(target.url, text(), 100))
  expect(error).toMatchObject({ code: 'INPUT_INVALID', details: { line: line() } })
  expect(String(error)).toMatch(message)
  expect(rowLines(await exportText(target.url))).toEqual([])
})

test('a flow whose definition is missing is refused, and nothing is imported', async () => {
  const rows = rowLines(file).filter((line) => !line.startsWith('{"kind":"definition"'))
  const error = await rejection(importText(target.url, withRows(file, rows)))
  expect(error).toMatchObject({ code: 'INPUT_INVALID', message: expect.stringContaining('Expected the definition') })
  expect(rowLines(await exportText(target.url))).toEqual([])
})

test('a row that only the database can refuse is reported with its lines', async () => {
  const error = await rejection(importText(target.url, set('flow', { created_at: '2026-02-30T00:00:00Z' })))
  expect(error).toMatchObject({ code: 'INPUT_INVALID', details: { line: lineOf('flow') } })
  expect(rowLines(await exportText(target.url))).toEqual([])
})

test('a line above the limit ends the reading before it is held in memory', async () => {
  let bytes = 0
  async function* endless() {
    for (;;) {
      bytes += 1_000
      yield Buffer.alloc(1_000, 'x')
    }
  }
  const read = async () => {
    for await (const line of readLines(endless(), 5_000)) throw new Error(`expected no line, found ${line.number}`)
  }
  expect(await rejection(read())).toMatchObject({ code: 'INPUT_INVALID', details: { line: 1 } })
  expect(bytes).toBe(6_000)
})

test('an escaped backslash before the letters of an escape is text, and an escaped pair is one character', async () => {
  await importText(
    target.url,
    row('message', (line) => line.replace('Hello', '\\\\u0000 \\ud83c\\udfbb')),
  )
  const [message] = rowLines(await exportText(target.url)).filter((line) => line.startsWith('{"kind":"message"'))
  expect(JSON.parse(message ?? '')).toMatchObject({ row: { content: '\\u0000 \ud83c\udfbb' } })
})
