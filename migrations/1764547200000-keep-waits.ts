import type { MigrationInterface, QueryRunner } from 'typeorm'

const up = [
  `create table polyphony_flow_waits (
    flow_id uuid not null,
    path text not null,
    iteration integer not null,
    thread_id text not null,
    kind text not null,
    hash text not null,
    since timestamptz not null,
    deadline timestamptz,
    on_timeout text,
    event text,
    correlation text,
    prompt text,
    show text,
    schema json,
    assignees text array,
    decision json,
    decided_by text,
    decided_at timestamptz,
    constraint polyphony_flow_waits_pkey primary key (flow_id, path, iteration)
  )`,
  `create index polyphony_flow_waits_by_thread on polyphony_flow_waits (thread_id, since)`,
  `create index polyphony_flow_waits_by_event on polyphony_flow_waits (event, correlation)`,
]

const down = [`drop table polyphony_flow_waits`]

/** Steps that wait for a decision, a time or an event. */
export class KeepWaits1764547200000 implements MigrationInterface {
  readonly name = 'KeepWaits1764547200000'

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of up) await queryRunner.query(statement)
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of down) await queryRunner.query(statement)
  }
}
