import type { MigrationInterface, QueryRunner } from 'typeorm'

const up = [
  `create table polyphony_file_contents (
    sha256 text not null,
    data bytea not null,
    added_at timestamptz not null,
    constraint polyphony_file_contents_pkey primary key (sha256)
  )`,
  // Images and PDFs are compressed already.
  `alter table polyphony_file_contents alter column data set storage external`,
  `create table polyphony_files (
    id text not null,
    user_id text not null,
    thread_id text,
    name text not null,
    media_type text not null,
    byte_length integer not null,
    sha256 text not null,
    created_at timestamptz not null,
    constraint polyphony_files_pkey primary key (id)
  )`,
  `create index polyphony_files_by_user on polyphony_files (user_id, created_at, id)`,
  `create index polyphony_files_by_thread on polyphony_files (thread_id) where thread_id is not null`,
  `create index polyphony_files_by_content on polyphony_files (sha256)`,
  `create index polyphony_files_by_age on polyphony_files (created_at)`,
  `alter table polyphony_flows add column attachments json`,
]

const down = [
  `alter table polyphony_flows drop column attachments`,
  `drop table polyphony_files`,
  `drop table polyphony_file_contents`,
]

/** Tables for files of users and for their bytes, which are stored once by hash, and the attachments of executions. */
export class KeepFiles1764979200000 implements MigrationInterface {
  readonly name = 'KeepFiles1764979200000'

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of up) await queryRunner.query(statement)
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of down) await queryRunner.query(statement)
  }
}
