import { createHash } from 'node:crypto'
import { JSON_TYPES } from '../../columns/column.ts'
import { ENTITIES } from '../entities.ts'

/** A column as a file of an export has it. */
export interface TransferredColumn {
  readonly name: string
  readonly type: keyof typeof JSON_TYPES
  readonly isArray: boolean
  readonly isNullable: boolean
  readonly isKey: boolean
}

interface TransferRule {
  /** The word for a row of the table in the file and in reports. */
  readonly kind: string
  readonly table: string
  /**
   * A row is imported only if the same import has created its parent. Otherwise results of one state of a flow would be
   * added to another state of it, and rights that were withdrawn since would come back.
   */
  readonly parent?: { readonly table: string; readonly column: string }
  /** Columns that are left out of the file, each with the SQL of the value that an import gives it. */
  readonly omitted?: Readonly<Record<string, string>>
  /** SQL of columns that the file holds in another state than the table, which is `t`. */
  readonly replaced?: Readonly<Record<string, string>>
  /** What is wrong with a row whose columns all have the right types. `further`: the bytes of its further lines. */
  readonly findProblem?: (row: Readonly<Record<string, unknown>>, further: readonly Uint8Array[]) => string | undefined
}

export interface TransferredTable extends TransferRule {
  /** The columns of the file. */
  readonly columns: readonly TransferredColumn[]
}

const ofFlow = { table: 'polyphony_flows', column: 'flow_id' } as const

const findHashProblem = ({ hash, json }: Readonly<Record<string, unknown>>): string | undefined =>
  hash === createHash('sha256').update(String(json)).digest('hex')
    ? undefined
    : 'hash: expected the SHA-256 of the definition, found another value'

function findContentProblem(
  { sha256, data }: Readonly<Record<string, unknown>>,
  further: readonly Uint8Array[],
): string | undefined {
  const digest = createHash('sha256').update(bytesOf(String(data)))
  for (const bytes of further) digest.update(bytes)
  return digest.digest('hex') === sha256 ? undefined : 'sha256: expected the SHA-256 of the bytes, found another value'
}

/** Bytes as Postgres writes them: `\x` and hexadecimal digits. */
export const bytesOf = (text: string): Buffer => Buffer.from(text.slice(2), 'hex')

/** The column of a table that holds bytes; no table has two. */
export const bytesColumnOf = ({ columns }: TransferredTable): string | undefined =>
  columns.find(({ type }) => type === 'bytea')?.name

/** In the order of the file: a parent comes before its rows. */
const RULES: readonly TransferRule[] = [
  { kind: 'definition', table: 'polyphony_flow_definitions', findProblem: findHashProblem },
  { kind: 'thread', table: 'polyphony_threads' },
  { kind: 'message', table: 'polyphony_messages' },
  { kind: 'bytes', table: 'polyphony_file_contents', findProblem: findContentProblem },
  { kind: 'file', table: 'polyphony_files' },
  {
    kind: 'permission',
    table: 'polyphony_thread_permissions',
    parent: { table: 'polyphony_threads', column: 'thread_id' },
  },
  { kind: 'policy', table: 'polyphony_data_sharing_policies' },
  {
    kind: 'apiKey',
    table: 'polyphony_api_keys',
    // Without its hash no secret matches the key; it is listed as revoked.
    omitted: { hash: "''" },
    replaced: { revoked_at: "coalesce(t.revoked_at, date_trunc('milliseconds', now()))" },
  },
  { kind: 'flow', table: ofFlow.table },
  // The owner of a claim does not exist at the destination: a process there finds the flow as that of a dead process.
  // Jobs are in the queue of the source, so that the destination adds new ones for queued and paused flows.
  { kind: 'claim', table: 'polyphony_flow_claims', parent: ofFlow, omitted: { job_id: 'null' } },
  { kind: 'result', table: 'polyphony_step_results', parent: ofFlow },
  { kind: 'attempt', table: 'polyphony_step_attempts', parent: ofFlow },
  { kind: 'intent', table: 'polyphony_call_intents', parent: ofFlow },
  { kind: 'turn', table: 'polyphony_step_turns', parent: ofFlow },
  { kind: 'wait', table: 'polyphony_flow_waits', parent: ofFlow },
  { kind: 'update', table: 'polyphony_flow_updates', parent: ofFlow },
]

/** Tables that no export contains, each with the reason. */
export const TABLES_LEFT_OUT: Readonly<Record<string, string>> = {
  polyphony_owners: 'processes of the source do not run at the destination',
  polyphony_tickets: 'a ticket is valid for seconds, on the server that issued it',
  polyphony_idempotency: 'a repeated request reaches the server that answered the first one',
  polyphony_webhooks: 'secrets stay where they are; the destination makes its own',
  polyphony_webhook_deliveries: 'the source sends what it has announced, and the destination would send it twice',
  polyphony_budget_usage: 'budgets count what was spent through their own database; the ledger of attempts is exported',
  polyphony_budget_reservations: 'calls of the source are settled there',
  polyphony_provider_rates: 'rates hold for the processes that share a database',
  polyphony_provider_slots: 'calls of the source hold them',
  polyphony_request_counts: 'they count requests of the last minute',
  polyphony_events: 'the log has numbers of its own in each database, and its readers continue after them',
  polyphony_services: 'the processes that run them are those of the source; they run nothing at the destination',
  polyphony_schedules: 'the destination continues with the next instant of its own configuration',
}

const isKnownType = (type: string): type is keyof typeof JSON_TYPES => Object.hasOwn(JSON_TYPES, type)

function columnsOf({ table, omitted = {} }: TransferRule): readonly TransferredColumn[] {
  const entity = ENTITIES.find(({ options }) => options.tableName === table)
  if (!entity) throw new Error(`expected an entity for the table ${table}`)
  return Object.values<{
    readonly name?: string
    readonly type?: unknown
    readonly array?: boolean
    readonly nullable?: boolean
    readonly primary?: boolean
  }>(entity.options.columns).flatMap(({ name = '', type, array = false, nullable = false, primary = false }) => {
    const typeName = String(type)
    if (!isKnownType(typeName)) throw new Error(`expected a known type for ${table}.${name}, found ${typeName}`)
    if (Object.hasOwn(omitted, name)) return []
    return [{ name, type: typeName, isArray: array, isNullable: nullable, isKey: primary }]
  })
}

/**
 * All tables of an export, in the order of the file. The columns derive from the tables of columns, so that a new
 * column is exported without further code.
 */
export const TRANSFERRED_TABLES: readonly TransferredTable[] = RULES.map((rule) => ({ ...rule, columns: columnsOf(rule) }))
