import type { MigrationInterface, QueryRunner } from 'typeorm'

const up = [
  `create table polyphony_budget_usage (
    name text not null,
    subject text not null,
    window_start timestamptz not null,
    cost_nano_usd bigint not null default 0,
    tokens bigint not null default 0,
    flows bigint not null default 0,
    reserved_nano_usd bigint not null default 0,
    reserved_tokens bigint not null default 0,
    constraint polyphony_budget_usage_pkey primary key (name, subject, window_start)
  ) with (fillfactor = 70)`,
  `create table polyphony_budget_reservations (
    id text not null,
    name text not null,
    subject text not null,
    window_start timestamptz not null,
    owner_id text not null,
    cost_nano_usd bigint not null,
    tokens bigint not null,
    constraint polyphony_budget_reservations_pkey primary key (id, name)
  )`,
  `create table polyphony_provider_rates (
    account text not null,
    next_request_at timestamptz not null default '-infinity',
    tokens_at timestamptz not null default '-infinity',
    closed_until timestamptz not null default '-infinity',
    running integer not null default 0,
    constraint polyphony_provider_rates_pkey primary key (account)
  ) with (fillfactor = 70)`,
  `create table polyphony_provider_slots (
    id text not null,
    account text not null,
    owner_id text not null,
    constraint polyphony_provider_slots_pkey primary key (id)
  )`,
  `create table polyphony_request_counts (
    key text not null,
    count integer not null,
    ends_at timestamptz not null,
    constraint polyphony_request_counts_pkey primary key (key)
  ) with (fillfactor = 70)`,
]

const down = [
  `drop table polyphony_request_counts`,
  `drop table polyphony_provider_slots`,
  `drop table polyphony_provider_rates`,
  `drop table polyphony_budget_reservations`,
  `drop table polyphony_budget_usage`,
]

/** Tables for what holds over all processes: budgets, rates of provider accounts, and requests to the server. */
export class CountSpending1764720000000 implements MigrationInterface {
  readonly name = 'CountSpending1764720000000'

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of up) await queryRunner.query(statement)
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of down) await queryRunner.query(statement)
  }
}
