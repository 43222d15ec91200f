import type { SharedServices } from '../../src/services/elsewhere/elsewhere.ts'
import type { AdvertisedRun, FoundRun } from '../../src/services/elsewhere/service-table.ts'

/** A table of services in memory, for several processes of one test. */
export function createSharedTable() {
  let rows: readonly FoundRun[] = []
  const statements: string[] = []
  const failures: unknown[] = []
  const table = {
    statements,
    failures,
    /** Whether every statement fails. */
    isDown: false,
    rows: () => rows,
    /** Puts a row there as another process would. */
    put(row: Partial<FoundRun>): void {
      const full = { serviceId: 'writer', address: 'http://127.0.0.1:1', state: 'running' as const, ownerId: 'x', host: 'here' }
      rows = [...rows.filter(({ serviceId }) => serviceId !== (row.serviceId ?? 'writer')), { ...full, ...row }]
    },
    clear(): void {
      rows = []
    },
    /** The table as one process uses it. */
    of(ownerId: string, host = 'here'): SharedServices {
      const note = async (statement: string) => {
        statements.push(`${ownerId} ${statement}`)
        if (table.isDown) throw new Error('the database does not answer')
      }
      const isOwn = (row: FoundRun, ids?: readonly string[]) =>
        row.ownerId === ownerId && (ids === undefined || ids.includes(row.serviceId))
      return {
        host,
        onFailure: (error) => failures.push(error),
        table: {
          async advertise(runs: readonly AdvertisedRun[]) {
            await note(`advertises ${runs.map(({ serviceId, state }) => `${serviceId} ${state}`).join(', ')}`)
            const ids = runs.map(({ serviceId }) => serviceId)
            rows = [...rows.filter((row) => !isOwn(row, ids)), ...runs.map((run) => ({ ...run, ownerId, host }))]
          },
          async withdraw(ids) {
            await note(`withdraws ${ids?.join(', ') ?? 'all'}`)
            rows = rows.filter((row) => !isOwn(row, ids))
          },
          async find(ids) {
            await note(`reads ${ids.join(', ')}`)
            return rows.filter((row) => row.ownerId !== ownerId && ids.includes(row.serviceId))
          },
        },
      }
    },
  }
  return table
}
