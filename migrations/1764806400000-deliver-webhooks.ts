import type { MigrationInterface, QueryRunner } from 'typeorm'

const up = [
  `create table polyphony_webhooks (
    id uuid not null,
    secret text,
    disabled_at timestamptz,
    constraint polyphony_webhooks_pkey primary key (id)
  )`,
  `create table polyphony_webhook_deliveries (
    webhook_id uuid not null,
    flow_id uuid not null,
    seq integer not null,
    type text not null,
    created_at timestamptz not null,
    facts json not null,
    state text not null default 'queued',
    attempts integer not null default 0,
    due_at timestamptz,
    settled_at timestamptz,
    problem text,
    constraint polyphony_webhook_deliveries_pkey primary key (webhook_id, flow_id, seq)
  )`,
  `create index polyphony_webhook_deliveries_by_due on polyphony_webhook_deliveries (webhook_id, due_at)`,
  `create index polyphony_webhook_deliveries_by_end on polyphony_webhook_deliveries (settled_at)`,
  `create table polyphony_schedules (
    name text not null,
    timing text not null,
    next_at timestamptz not null,
    lease_until timestamptz,
    last_at timestamptz,
    last_flow_id uuid,
    last_problem text,
    constraint polyphony_schedules_pkey primary key (name)
  )`,
]

const down = ['schedules', 'webhook_deliveries', 'webhooks'].map((table) => `drop table polyphony_${table}`)

/** Tables for webhooks with the outbox of their deliveries, and for schedules. */
export class DeliverWebhooks1764806400000 implements MigrationInterface {
  readonly name = 'DeliverWebhooks1764806400000'

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of up) await queryRunner.query(statement)
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of down) await queryRunner.query(statement)
  }
}
