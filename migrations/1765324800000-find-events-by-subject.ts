import type { MigrationInterface, QueryRunner } from 'typeorm'

/** The events about one service are found without reading all others. */
export class FindEventsBySubject1765324800000 implements MigrationInterface {
  readonly name = 'FindEventsBySubject1765324800000'

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(
      'create index polyphony_events_by_subject on polyphony_events (subject, seq) where subject is not null',
    )
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query('drop index polyphony_events_by_subject')
  }
}
