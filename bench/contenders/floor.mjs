// The lower bound of cost: the calls themselves in a hand-written loop.
// Variants: sdk (nothing else), pg (each result inserted before the next step, plain `pg`, one row per statement).
import { randomUUID } from 'node:crypto'
import { BRANCHES, createModel, prompts } from '../lib/llm.mjs'

export const variants = ['sdk', 'pg']

const TABLES = `
  create table if not exists floor_flows (
    id uuid primary key, kind text not null, status text not null, input json not null, result json,
    created_at timestamptz not null default now(), completed_at timestamptz);
  create table if not exists floor_steps (
    flow_id uuid not null, step_id text not null, result json not null,
    created_at timestamptz not null default now(), primary key (flow_id, step_id))`

const sum = (results) => results.reduce((total, result) => total + result.tokens, 0)

async function runSeq(runStep, question) {
  const draft = await runStep('generate', prompts.generate(question))
  const critique = await runStep('critique', prompts.critique(question, draft.text))
  const final = await runStep('refine', prompts.refine(question, draft.text, critique.text))
  return { text: final.text, tokens: sum([draft, critique, final]) }
}

async function runPar(runStep, question) {
  const answers = await Promise.all(BRANCHES.map((index) => runStep(`branch${index}`, prompts.branch(question, index))))
  const texts = answers.map((answer) => answer.text)
  const synthesis = await runStep('synth', prompts.synth(question, texts))
  return { text: synthesis.text, tokens: sum([...answers, synthesis]) }
}

const flows = { seq: runSeq, par: runPar }

const keepNothing = {
  begin: async () => '',
  saveStep: async () => {},
  finish: async () => {},
  close: async () => {},
}

async function createRows(url, poolSize) {
  const { default: pg } = await import('pg')
  const pool = new pg.Pool({ connectionString: url, max: poolSize })
  await pool.query(TABLES)
  return {
    async begin(kind, question) {
      const id = randomUUID()
      const text = `insert into floor_flows (id, kind, status, input) values ($1, $2, 'RUNNING', $3)`
      await pool.query({ name: 'begin', text, values: [id, kind, { question }] })
      return id
    },
    async saveStep(flowId, stepId, result) {
      const text = 'insert into floor_steps (flow_id, step_id, result) values ($1, $2, $3)'
      await pool.query({ name: 'step', text, values: [flowId, stepId, result] })
    },
    async finish(flowId, result) {
      const text = `update floor_flows set status = 'COMPLETED', result = $2, completed_at = now() where id = $1`
      await pool.query({ name: 'finish', text, values: [flowId, result] })
    },
    close: () => pool.end(),
  }
}

export default async function create(variant) {
  let model
  let rows = keepNothing

  async function run(kind, question, call) {
    const flowId = await rows.begin(kind, question)
    const runStep = async (stepId, prompt) => {
      const result = await call(prompt)
      await rows.saveStep(flowId, stepId, result)
      return result
    }
    const result = await flows[kind](runStep, question)
    await rows.finish(flowId, result)
    return result
  }

  return {
    persisted: variant === 'pg',
    async setup({ baseURL, pgUrl, poolSize = 10 }) {
      model = await createModel(baseURL)
      if (variant === 'pg') rows = await createRows(pgUrl, poolSize)
    },
    runFlow: (kind, question) => run(kind, question, model.ask),
    streamFlow: (question, onToken) => run('seq', question, (prompt) => model.stream(prompt, onToken)),
    teardown: () => rows.close(),
  }
}
