import type { MigrationInterface, QueryRunner } from 'typeorm'

/** Events of services and users are kept in one log. */
export class LogEvents1765238400000 implements MigrationInterface {
  readonly name = 'LogEvents1765238400000'

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(CREATE_EVENTS)
    await queryRunner.query('create index polyphony_events_by_correlation on polyphony_events (correlation_id, seq)')
    await queryRunner.query('create index polyphony_events_by_user on polyphony_events (user_id, seq)')
    await queryRunner.query('create index polyphony_events_by_age on polyphony_events (created_at)')
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query('drop table polyphony_events')
  }
}

const CREATE_EVENTS = `create table polyphony_events (
    seq bigint not null,
    id uuid not null,
    type text not null,
    source text not null,
    subject text,
    correlation_id text,
    causation_id text,
    user_id text,
    priority text not null,
    data json,
    created_at timestamp with time zone not null,
    constraint polyphony_events_pkey primary key (seq)
  )`
