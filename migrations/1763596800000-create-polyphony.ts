import type { MigrationInterface, QueryRunner } from 'typeorm'

const statements = [
  `create table polyphony_data_sharing_policies (
    user_id text not null,
    provider_key text not null,
    allow_conversation_history boolean not null,
    allow_cross_provider_context boolean not null,
    allow_attachments boolean not null,
    constraint polyphony_data_sharing_policies_pkey primary key (user_id, provider_key)
  )`,
  `create table polyphony_flow_claims (
    flow_id uuid not null,
    owner_id text not null,
    constraint polyphony_flow_claims_pkey primary key (flow_id)
  )`,
  `create table polyphony_flow_definitions (
    hash text not null,
    json text not null,
    version text,
    is_data boolean not null,
    constraint polyphony_flow_definitions_pkey primary key (hash)
  )`,
  `create table polyphony_flow_updates (
    flow_id uuid not null,
    last_seq integer not null,
    batch json not null,
    constraint polyphony_flow_updates_pkey primary key (flow_id, last_seq)
  )`,
  `create table polyphony_flows (
    id uuid not null,
    thread_id text not null,
    user_id text not null,
    name text not null,
    description text,
    flow_type text not null,
    definition_hash text not null,
    parent_flow_id uuid,
    created_at timestamptz not null,
    schema_version smallint not null default 1,
    simulated boolean not null,
    owner_epoch integer not null default 0,
    started_at timestamptz,
    completed_at timestamptz,
    status text not null default 'PENDING',
    owner_id text,
    input text,
    metadata json,
    result json,
    error json,
    constraint polyphony_flows_pkey primary key (id)
  ) with (fillfactor = 30)`,
  `create index polyphony_flows_by_thread on polyphony_flows (thread_id, created_at)`,
  `create table polyphony_messages (
    id text not null,
    thread_id text not null,
    role text not null,
    created_at timestamptz not null,
    recorded bigint not null,
    content text not null,
    attachments json,
    metadata json not null,
    constraint polyphony_messages_pkey primary key (id)
  )`,
  `create index polyphony_messages_by_thread on polyphony_messages (thread_id, created_at, recorded)`,
  `create table polyphony_owners (
    id text not null,
    host text not null,
    pid integer not null,
    beat_at timestamptz not null default now(),
    constraint polyphony_owners_pkey primary key (id)
  )`,
  `create table polyphony_step_attempts (
    flow_id uuid not null,
    step_id text not null,
    iteration integer not null,
    sample integer not null,
    number integer not null,
    started_at timestamptz not null,
    execution_ms double precision not null,
    cost_usd double precision,
    input_tokens integer,
    cached_input_tokens integer,
    cache_write_tokens integer,
    output_tokens integer,
    reasoning_tokens integer,
    total_tokens integer,
    aborted boolean not null,
    possibly_double_billed boolean,
    simulated boolean not null,
    provider text not null,
    model text not null,
    usage_source text,
    cost_source text,
    prices_date text,
    error json,
    constraint polyphony_step_attempts_pkey primary key (flow_id, step_id, iteration, sample, number)
  )`,
  `create table polyphony_step_results (
    flow_id uuid not null,
    step_id text not null,
    iteration integer not null,
    sample integer not null,
    recorded bigint not null,
    started_at timestamptz not null,
    completed_at timestamptz not null,
    execution_ms double precision not null,
    cost_usd double precision,
    retry_count integer not null,
    input_tokens integer,
    cached_input_tokens integer,
    cache_write_tokens integer,
    output_tokens integer,
    reasoning_tokens integer,
    total_tokens integer,
    simulated boolean not null,
    status text not null,
    provider text not null,
    model text not null,
    requested_model text,
    action text not null,
    usage_source text,
    cost_source text,
    finish_reason text,
    output text,
    error json,
    details json,
    constraint polyphony_step_results_pkey primary key (flow_id, step_id, iteration, sample)
  )`,
  `create table polyphony_thread_permissions (
    thread_id text not null,
    user_id text not null,
    rights text array not null,
    constraint polyphony_thread_permissions_pkey primary key (thread_id, user_id)
  )`,
  `create table polyphony_threads (
    id text not null,
    user_id text not null,
    title text,
    created_at timestamptz not null,
    constraint polyphony_threads_pkey primary key (id)
  )`,
  `create index polyphony_threads_by_user on polyphony_threads (user_id, created_at)`,
]

const tables = [
  'data_sharing_policies',
  'flow_claims',
  'flow_definitions',
  'flow_updates',
  'flows',
  'messages',
  'owners',
  'step_attempts',
  'step_results',
  'thread_permissions',
  'threads',
]

/** The first schema: threads, flows with their results, ledger and updates, policies, owners. */
export class CreatePolyphony1763596800000 implements MigrationInterface {
  // A property, because TypeORM identifies a migration by its name and bundlers may change class names.
  readonly name = 'CreatePolyphony1763596800000'

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of statements) await queryRunner.query(statement)
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const table of tables) await queryRunner.query(`drop table polyphony_${table}`)
  }
}
