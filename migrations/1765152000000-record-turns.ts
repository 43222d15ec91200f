import type { MigrationInterface, QueryRunner } from 'typeorm'

/** Steps that call tools record each turn of their model and each result of a tool. */
export class RecordTurns1765152000000 implements MigrationInterface {
  readonly name = 'RecordTurns1765152000000'

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(CREATE_TURNS)
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query('drop table polyphony_step_turns')
  }
}

const CREATE_TURNS = `create table polyphony_step_turns (
    flow_id uuid not null,
    path text not null,
    iteration integer not null,
    sample integer not null,
    number integer not null,
    data json not null,
    constraint polyphony_step_turns_pkey primary key (flow_id, path, iteration, sample, number)
  )`
