import { afterAll, beforeAll, expect, test } from 'vitest'
import { exportDatabase, importDatabase, migrate } from '../../../src/repositories/database.ts'
import { administrate, openTestPostgres, type TestPostgres } from '../../support/postgres.ts'
import { exportText, importText, rowLines } from '../../support/transfer.ts'

const SMALL_ROWS = 100_000
const LARGE_ROWS = 60
const LARGE_BYTES = 2_000_000
const MEGABYTE = 1_000_000

let source: TestPostgres
let target: TestPostgres
beforeAll(async () => {
  source = await openTestPostgres()
  target = await openTestPostgres()
  await migrate(source.url)
  await migrate(target.url)
  await administrate(
    source.url,
    `insert into polyphony_messages (id, thread_id, role, created_at, recorded, content, metadata)
     select 'm' || n, 't' || n % 100, 'user', now(), n,
       case when n <= ${LARGE_ROWS} then repeat('large ', ${LARGE_BYTES} / 6) else 'small ' || n end, '{}'
     from generate_series(1, ${SMALL_ROWS}) n`,
  )
})
afterAll(async () => {
  await source?.drop()
  await target?.drop()
})

test('100,000 rows, some of them large, pass through both ways in bounded memory', { timeout: 300_000 }, async () => {
  let longest = 0
  let highest = 0
  let bytes = 0
  const before = process.memoryUsage().rss
  const measure = () => {
    highest = Math.max(highest, process.memoryUsage().rss - before)
  }
  // The export waits for the import, so that neither may hold more than a chunk.
  let counts: unknown
  await exportDatabase(
    source.url,
    async (chunks) => {
      async function* measured() {
        for await (const chunk of chunks) {
          longest = Math.max(longest, chunk.length)
          bytes += chunk.length
          measure()
          yield Buffer.from(chunk)
        }
      }
      counts = await importDatabase(target.url, measured())
    },
    { program: 'test', includeRunning: false },
  )
  expect(counts).toMatchObject({ message: { imported: SMALL_ROWS, skipped: 0 } })
  console.log(`${Math.round(bytes / MEGABYTE)} MB, longest chunk ${longest} bytes, memory +${Math.round(highest / MEGABYTE)} MB`)
  expect(longest).toBeLessThan(5 * MEGABYTE)
  expect(highest).toBeLessThan(400 * MEGABYTE)
})

test('two databases with the same 100,000 rows give the same file, and a second import skips all of it', {
  timeout: 300_000,
}, async () => {
  const [first, second] = [await exportText(source.url), await exportText(target.url)]
  expect(rowLines(first).length).toBe(SMALL_ROWS)
  expect(rowLines(second).join('\n') === rowLines(first).join('\n')).toBe(true)
  expect(await importText(target.url, first)).toMatchObject({ message: { imported: 0, skipped: SMALL_ROWS } })
})
