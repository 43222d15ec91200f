import { EntitySchema } from 'typeorm'

export interface OwnerRow {
  readonly id: string
  readonly host: string
  readonly pid: number
  readonly beatAt: Date
}

/** Processes that own running flows; `beat_at` is on the database's clock. */
export const OwnerEntity = new EntitySchema<OwnerRow>({
  name: 'PolyphonyOwner',
  tableName: 'polyphony_owners',
  columns: {
    id: { type: 'text', primary: true, primaryKeyConstraintName: 'polyphony_owners_pkey' },
    host: { type: 'text' },
    pid: { type: 'integer' },
    beatAt: { type: 'timestamptz', name: 'beat_at', default: () => 'now()' },
  },
})
