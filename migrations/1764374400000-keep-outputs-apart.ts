import type { MigrationInterface, QueryRunner } from 'typeorm'

/** A column of its own for the output of a flow, so that lists read the figures without it. */
export class KeepOutputsApart1764374400000 implements MigrationInterface {
  readonly name = 'KeepOutputsApart1764374400000'

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query('alter table polyphony_flows add column result_output text')
    await queryRunner.query(
      `update polyphony_flows set result_output = result->>'output', result = (result::jsonb - 'output')::json
       where result->>'output' is not null`,
    )
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(
      `update polyphony_flows set result = (result::jsonb || jsonb_build_object('output', result_output))::json
       where result_output is not null`,
    )
    await queryRunner.query('alter table polyphony_flows drop column result_output')
  }
}
