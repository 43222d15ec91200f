import { createHash, type Hash } from 'node:crypto'
import type { ClientBase } from 'pg'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import type { ImportCount } from '../../transfer-options.ts'
import { poolOf } from '../data-source.ts'
import { toDatabaseError } from '../database-errors.ts'
import { type DatabaseLocation, openMigrated } from '../open-database.ts'
import { inTransaction } from '../transaction.ts'
import { findRowProblem, findUnstorableEscape, isBytes, isPlainObject } from './check-row.ts'
import { type ExportTrailer, invalidLine, parseHeader, parseTrailer } from './export-format.ts'
import { findIncompleteFlow, importLongRow, importRows } from './import-rows.ts'
import { type FileLine, readLines } from './read-lines.ts'
import { bytesColumnOf, bytesOf, TRANSFERRED_TABLES, type TransferredTable } from './transferred-tables.ts'

const MAX_BATCH_ROWS = 500
const MAX_BATCH_BYTES = 4_000_000
/** Postgres has no value of more. */
const MAX_VALUE_BYTES = 1024 ** 3

/**
 * Reads a file of `exportFrom` into a database, in one transaction: all of it or nothing. Rows that exist are skipped.
 * Resolves with the counts by kind. Rejects with INPUT_INVALID, naming the line, for any other file, and with
 * DATABASE_SCHEMA_MISMATCH when the schema of the database is not that of this version.
 */
export async function importInto(
  location: DatabaseLocation,
  chunks: AsyncIterable<Uint8Array>,
): Promise<Readonly<Record<string, ImportCount>>> {
  const { dataSource, close } = await openMigrated(location, 'check')
  try {
    const known = dataSource.migrations.map(({ name = '' }) => name)
    return await inTransaction(poolOf(dataSource), (client) => new FileImport(client, known).run(chunks))
  } catch (error) {
    throw toDatabaseError(error)
  } finally {
    await close()
  }
}

/** A row whose bytes continue in further lines. */
interface LongRow {
  readonly line: FileLine
  readonly value: unknown
  /** Number of further lines. */
  readonly expected: number
  readonly bytes: Uint8Array[]
  length: number
}

/** The state of one import. */
class FileImport {
  readonly #client: ClientBase
  readonly #migrations: readonly string[]
  readonly #digest: Hash = createHash('sha256')
  readonly #found: Record<string, number> = {}
  readonly #imported: Record<string, number> = {}
  #tableIndex = 0
  #batch: FileLine[] = []
  #batchBytes = 0
  #long: LongRow | undefined
  #hasEnded = false
  #lastLine = 0

  constructor(client: ClientBase, migrations: readonly string[]) {
    this.#client = client
    this.#migrations = migrations
    for (const { kind } of TRANSFERRED_TABLES) {
      this.#found[kind] = 0
      this.#imported[kind] = 0
    }
  }

  async run(chunks: AsyncIterable<Uint8Array>): Promise<Readonly<Record<string, ImportCount>>> {
    for await (const line of readLines(chunks)) await this.#take(line)
    if (!this.#hasEnded) {
      const problem = 'expected the last line of an export, found the end of the file: it was cut'
      throw invalidLine(this.#lastLine + 1, problem)
    }
    const incomplete = await findIncompleteFlow(this.#client)
    if (incomplete !== undefined) {
      const message = `Expected the definition and the thread of flow ${incomplete}, found them neither in the file nor in the database`
      throw new OrchestratorError('INPUT_INVALID', message, { details: { flowId: incomplete } })
    }
    return Object.fromEntries(
      TRANSFERRED_TABLES.map(({ kind }) => {
        const imported = this.#imported[kind] ?? 0
        return [kind, { imported, skipped: (this.#found[kind] ?? 0) - imported }]
      }),
    )
  }

  async #take(line: FileLine): Promise<void> {
    this.#lastLine = line.number
    if (this.#hasEnded) throw invalidLine(line.number, 'expected the end of the file, found a further line')
    const value = parseLine(line)
    if (line.number === 1) {
      parseHeader(value, this.#migrations)
      this.#digest.update(line.bytes)
      return
    }
    if (this.#long) {
      this.#digest.update(line.bytes)
      return this.#takeBytes(line, value, this.#long)
    }
    const trailer = parseTrailer(value)
    if (trailer) return this.#end(line, trailer)
    this.#digest.update(line.bytes)
    await this.#takeRow(line, value)
  }

  async #takeRow(line: FileLine, value: unknown): Promise<void> {
    const index = findTable(line, value)
    if (index < this.#tableIndex) {
      throw invalidLine(line.number, `expected no more rows of this kind after "${tableAt(this.#tableIndex).kind}"`)
    }
    if (index !== this.#tableIndex) await this.#flush()
    this.#tableIndex = index
    const table = tableAt(index)
    const further = furtherLines(line, table, value)
    this.#found[table.kind] = (this.#found[table.kind] ?? 0) + 1
    if (further > 0) {
      await this.#flush()
      this.#long = { line, value, expected: further, bytes: [], length: 0 }
      return
    }
    checkRow(line, table, value, [])
    this.#batch.push(line)
    this.#batchBytes += line.bytes.length
    if (this.#batch.length >= MAX_BATCH_ROWS || this.#batchBytes >= MAX_BATCH_BYTES) await this.#flush()
  }

  /** Takes a further line of a row, and imports the row after its last one. */
  async #takeBytes(line: FileLine, value: unknown, long: LongRow): Promise<void> {
    const table = tableAt(this.#tableIndex)
    const isFurther = isPlainObject(value) && Object.keys(value).length === 2 && value.kind === table.kind && 'bytes' in value
    if (!isFurther || !isBytes(value.bytes)) {
      const left = long.expected - long.bytes.length
      throw invalidLine(line.number, `${table.kind}: expected ${left} further lines with bytes, found another line`)
    }
    const bytes = bytesOf(value.bytes)
    long.length += bytes.length
    if (long.length > MAX_VALUE_BYTES) {
      throw invalidLine(line.number, `${table.kind}: expected at most ${MAX_VALUE_BYTES} bytes in a row, found more`)
    }
    long.bytes.push(bytes)
    if (long.bytes.length < long.expected) return
    this.#long = undefined
    checkRow(long.line, table, long.value, long.bytes)
    const imported = await importLongRow(this.#client, table, long.line, long.bytes)
    this.#imported[table.kind] = (this.#imported[table.kind] ?? 0) + imported
  }

  async #flush(): Promise<void> {
    if (this.#batch.length === 0) return
    const table = tableAt(this.#tableIndex)
    const imported = await importRows(this.#client, table, this.#batch)
    this.#imported[table.kind] = (this.#imported[table.kind] ?? 0) + imported
    this.#batch = []
    this.#batchBytes = 0
  }

  async #end(line: FileLine, { counts, sha256 }: ExportTrailer): Promise<void> {
    await this.#flush()
    for (const { kind } of TRANSFERRED_TABLES) {
      const [expected, found] = [counts[kind] ?? 0, this.#found[kind] ?? 0]
      if (expected !== found) throw invalidLine(line.number, `expected ${expected} rows of kind "${kind}", found ${found}`)
    }
    if (this.#digest.digest('hex') !== sha256) {
      throw invalidLine(line.number, 'expected the checksum of the lines before, found another one: the file was changed')
    }
    this.#hasEnded = true
  }
}

function parseLine({ number, text }: FileLine): unknown {
  const unstorable = findUnstorableEscape(text)
  if (unstorable !== undefined) throw invalidLine(number, `expected text that a database can store, found ${unstorable}`)
  try {
    return JSON.parse(text)
  } catch {
    throw invalidLine(number, 'expected one JSON object, found other text or a cut one')
  }
}

function checkRow(line: FileLine, table: TransferredTable, value: unknown, further: readonly Uint8Array[]): void {
  const problem = isPlainObject(value) ? findRowProblem(table, value.row, further) : undefined
  if (problem !== undefined) throw invalidLine(line.number, `${table.kind}: ${problem}`)
}

/** Number of further lines in which the bytes of a row continue. */
function furtherLines({ number }: FileLine, table: TransferredTable, value: unknown): number {
  if (!isPlainObject(value) || !('further' in value)) return 0
  const { further } = value
  if (typeof further === 'number' && Number.isInteger(further) && further > 0 && bytesColumnOf(table) !== undefined)
    return further
  throw invalidLine(number, `${table.kind}: expected a number of further lines of a row with bytes, found another value`)
}

function findTable({ number }: FileLine, value: unknown): number {
  const isRow =
    isPlainObject(value) && 'kind' in value && 'row' in value && Object.keys(value).length === ('further' in value ? 3 : 2)
  if (!isRow) throw invalidLine(number, 'expected an object with "kind" and "row"')
  const index = TRANSFERRED_TABLES.findIndex(({ kind }) => kind === value.kind)
  if (index >= 0) return index
  const kinds = TRANSFERRED_TABLES.map(({ kind }) => kind).join(', ')
  throw invalidLine(number, `kind: expected one of ${kinds}, found another value`)
}

function tableAt(index: number): TransferredTable {
  const table = TRANSFERRED_TABLES[index]
  if (!table) throw new Error(`expected a table at position ${index}`)
  return table
}
