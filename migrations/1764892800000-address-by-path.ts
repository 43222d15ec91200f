import type { MigrationInterface, QueryRunner } from 'typeorm'

const TABLES = ['polyphony_step_results', 'polyphony_step_attempts'] as const

/**
 * Results and attempts are addressed by the path of their step, which is the id of the step in every flow so far.
 * Intents of calls get a table of their own.
 */
export class AddressByPath1764892800000 implements MigrationInterface {
  readonly name = 'AddressByPath1764892800000'

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const table of TABLES) await queryRunner.query(`alter table ${table} rename column step_id to path`)
    await queryRunner.query(renameFinal('stepId', 'path'))
    await queryRunner.query(ADD_PATH_TO_UPDATES)
    await queryRunner.query(CREATE_INTENTS)
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query('drop table polyphony_call_intents')
    for (const table of TABLES) await queryRunner.query(`alter table ${table} rename column path to step_id`)
    await queryRunner.query(renameFinal('path', 'stepId'))
  }
}

/** Renames a property of the key that names the result whose output is the flow's. */
const renameFinal = (from: string, to: string): string => `update polyphony_flows
  set result = jsonb_set(result::jsonb, '{final}', (result::jsonb->'final') - '${from}' ||
    jsonb_build_object('${to}', result->'final'->'${from}'))::json
  where result->'final'->'${from}' is not null`

/** Updates hold the whole result of a step that failed: the sixth cell of an update, behind the path as the fourth. */
const ADD_PATH_TO_UPDATES = `update polyphony_flow_updates set batch = (
    select json_agg(case when cells->5 ? 'stepId' then jsonb_set(cells, '{5,path}', cells->3) else cells end order by position)
    from jsonb_array_elements(batch::jsonb) with ordinality as updates(cells, position))
  where batch::text like '%"step_complete"%"attempts"%'`

const CREATE_INTENTS = `create table polyphony_call_intents (
    flow_id uuid not null,
    path text not null,
    iteration integer not null,
    sample integer not null,
    number integer not null,
    started_at timestamptz not null,
    input_tokens integer not null,
    output_tokens integer not null,
    cost_usd double precision,
    simulated boolean not null,
    provider text not null,
    model text not null,
    idempotency_key text not null,
    constraint polyphony_call_intents_pkey primary key (flow_id, path, iteration, sample, number)
  )`
