import type { MigrationInterface, QueryRunner } from 'typeorm'

/** Services that one process runs are known to the others. */
export class AdvertiseServices1765411200000 implements MigrationInterface {
  readonly name = 'AdvertiseServices1765411200000'

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(CREATE_SERVICES)
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query('drop table polyphony_services')
  }
}

const CREATE_SERVICES = `create table polyphony_services (
    service_id text not null,
    owner_id text not null,
    address text not null,
    state text not null,
    since timestamp with time zone not null,
    confirmed_at timestamp with time zone not null,
    constraint polyphony_services_pkey primary key (service_id, owner_id)
  )`
