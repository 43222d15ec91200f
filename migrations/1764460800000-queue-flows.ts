import type { MigrationInterface, QueryRunner } from 'typeorm'

const COLUMNS = ['user_id text', 'queued_at timestamptz', 'job_id text', 'wake_at timestamptz', 'requires text']

/** Columns and indices with which claims hold queued and paused flows beside running ones. */
export class QueueFlows1764460800000 implements MigrationInterface {
  readonly name = 'QueueFlows1764460800000'

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(
      `alter table polyphony_flow_claims alter column owner_id drop not null, ${COLUMNS.map((column) => `add column ${column}`).join(', ')}`,
    )
    await queryRunner.query(
      'update polyphony_flow_claims c set user_id = f.user_id from polyphony_flows f where f.id = c.flow_id',
    )
    await queryRunner.query(
      `create index polyphony_flow_claims_by_queue on polyphony_flow_claims (user_id, queued_at)
       where owner_id is null and queued_at is not null`,
    )
    await queryRunner.query(
      'create index polyphony_flow_claims_by_running_user on polyphony_flow_claims (user_id) where owner_id is not null',
    )
    await queryRunner.query(
      'create index polyphony_flow_claims_by_job on polyphony_flow_claims (job_id) where job_id is not null',
    )
    await queryRunner.query(
      'create index polyphony_flow_claims_by_wake on polyphony_flow_claims (wake_at) where wake_at is not null',
    )
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query('delete from polyphony_flow_claims where owner_id is null')
    await queryRunner.query(
      `alter table polyphony_flow_claims alter column owner_id set not null, ${COLUMNS.map((column) => `drop column ${column.split(' ')[0]}`).join(', ')}`,
    )
  }
}
