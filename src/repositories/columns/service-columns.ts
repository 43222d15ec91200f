import type { AdvertisedService, RunningService } from '../services.ts'
import type { ColumnsOf } from './column.ts'

/** A service that one process runs for others; all instants are on the clock of the database. */
export interface ServiceRow extends AdvertisedService, Pick<RunningService, 'ownerId'> {
  /** Since when the process advertises it without a break. */
  readonly since: Date
  readonly confirmedAt: Date
}

export const SERVICE_COLUMNS = {
  serviceId: { name: 'service_id', type: 'text', primary: true },
  ownerId: { name: 'owner_id', type: 'text', primary: true },
  address: { name: 'address', type: 'text' },
  state: { name: 'state', type: 'text' },
  since: { name: 'since', type: 'timestamptz' },
  confirmedAt: { name: 'confirmed_at', type: 'timestamptz' },
} as const satisfies ColumnsOf<ServiceRow>
