import type { MigrationInterface, QueryRunner } from 'typeorm'

/** Attempts say whether an answer was served again instead of a request. */
export class MarkCachedAttempts1765065600000 implements MigrationInterface {
  readonly name = 'MarkCachedAttempts1765065600000'

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query('alter table polyphony_step_attempts add column cached boolean')
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query('alter table polyphony_step_attempts drop column cached')
  }
}
