import type { MigrationInterface, QueryRunner } from 'typeorm'

const up = [
  `create table polyphony_api_keys (
    id text not null,
    user_id text not null,
    name text not null,
    scopes text array not null,
    hash text not null,
    created_at timestamptz not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    constraint polyphony_api_keys_pkey primary key (id)
  )`,
  `create table polyphony_idempotency (
    user_id text not null,
    key text not null,
    fingerprint text not null,
    lock text not null,
    created_at timestamptz not null,
    locked_until timestamptz not null,
    status_code integer,
    headers json,
    body text,
    constraint polyphony_idempotency_pkey primary key (user_id, key)
  )`,
  `create index polyphony_idempotency_by_age on polyphony_idempotency (created_at)`,
  `create table polyphony_tickets (
    hash text not null,
    caller json not null,
    expires_at timestamptz not null,
    constraint polyphony_tickets_pkey primary key (hash)
  )`,
  `create index polyphony_flows_by_user on polyphony_flows (user_id, created_at, id)`,
  `create index polyphony_flows_by_name on polyphony_flows (user_id, name, created_at, id)`,
]

const down = [`drop table polyphony_tickets`, `drop table polyphony_idempotency`, `drop table polyphony_api_keys`]

/** Tables for callers of the server: API keys, tickets, idempotent requests; and indexes by the creator of a flow. */
export class ServeCallers1764201600000 implements MigrationInterface {
  readonly name = 'ServeCallers1764201600000'

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of up) await queryRunner.query(statement)
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of down) await queryRunner.query(statement)
  }
}
