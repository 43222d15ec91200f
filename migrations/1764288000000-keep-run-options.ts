import type { MigrationInterface, QueryRunner } from 'typeorm'

/** Options of the newest execution, so that another process can resume it in the same way. */
export class KeepRunOptions1764288000000 implements MigrationInterface {
  readonly name = 'KeepRunOptions1764288000000'

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query('alter table polyphony_flows add column run_options json')
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query('alter table polyphony_flows drop column run_options')
  }
}
