import { expect, test } from 'vitest'
import { until } from '../../support/flows.ts'
import { createLoopback } from '../../support/loopback.ts'
import { administrate, openTestPostgres } from '../../support/postgres.ts'
import { send } from '../running-server.ts'
import { createWritingFlow, startFlow, startServerProcess, writtenText } from '../server-process.ts'
import { connect } from '../socket-client.ts'

const CANCELS = 20

/** The value below which the share of the values lies. */
const quantile = (values: readonly number[], share: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? Number.NaN

const report = (what: string, values: readonly number[]) => {
  if (!process.env.REPORT_LATENCY) return
  const figures = [0.5, 0.99, 1].map((share) => quantile(values, share).toFixed(0))
  console.log(`${what}: p50 ${figures[0]} ms, p99 ${figures[1]} ms, max ${figures[2]} ms, ${values.length} values`)
}

test('a flow that is cancelled on another server ends its call there and makes no further one', async (context) => {
  const postgres = await openTestPostgres()
  context.onTestFinished(() => postgres.drop())
  let calls = 0
  const closedAtMs: number[] = []
  const provider = await createLoopback(async ({ closed }) => {
    calls++
    await closed
    closedAtMs.push(performance.now())
  })
  context.onTestFinished(provider.close)
  const providers = { desk: { kind: 'openai-compatible' as const, baseUrl: `${provider.url}/desk`, apiKey: 'sk-key' } }
  const start = async () => {
    const server = await startServerProcess({ database: postgres.url, providers })
    context.onTestFinished(() => server.kill())
    return server
  }
  const [runner, other] = await Promise.all([start(), start()])
  const thread = (await send(runner.url, 'POST', '/api/v1/threads')).json
  const step = (id: string) => ({ id, model: 'desk/m', action: 'generate', prompt: `do ${id}` })
  const definition = { name: 'long', type: 'sequential', input: 'x', steps: [step('first'), step('second')] }
  const tookMs: number[] = []
  for (let round = 1; round <= CANCELS; round++) {
    const { json } = await send(runner.url, 'POST', '/api/v1/flows', { body: { threadId: thread.id, definition } })
    await startFlow(runner.url, String(json.id))
    await until(() => calls === round)
    const fromMs = performance.now()
    const { json: status } = await send(other.url, 'POST', `/api/v1/flows/${json.id}/cancel`)
    expect(status).toMatchObject({ status: 'CANCELLED' })
    await until(() => closedAtMs.length === round)
    tookMs.push((closedAtMs.at(-1) ?? Number.NaN) - fromMs)
  }
  expect(calls).toBe(CANCELS)
  report('cancel on another server to closed socket', tookMs)
})

test('a WebSocket client of one server receives the flow that runs in another, even after connections are cut', async (context) => {
  const postgres = await openTestPostgres()
  context.onTestFinished(() => postgres.drop())
  const start = async () => {
    const server = await startServerProcess({ database: postgres.url })
    context.onTestFinished(() => server.kill())
    return server
  }
  const [runner, other] = await Promise.all([start(), start()])
  const writing = { pieces: 1_000, everyMs: 5 }
  const flowId = await createWritingFlow(runner.url, writing)
  const { socket, send: subscribe, next } = await connect(other.url)
  const latenciesMs: number[] = []
  const seqs: number[] = []
  let text = ''
  let cuts = 0
  socket.on('message', (data) => {
    const frame = JSON.parse(String(data))
    if (frame.seq === undefined) return
    seqs.push(frame.seq)
    if (frame.type !== 'step_progress') return
    text += frame.data.delta
    if (cuts === 0) latenciesMs.push(Date.now() - Date.parse(frame.timestamp))
    if (cuts === 0 && frame.seq > 600) {
      cuts++
      void administrate(
        postgres.url,
        `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'polyphony notifications'`,
      )
    }
  })
  subscribe({ type: 'subscribe', flowId, afterSeq: 0 })
  await next(({ type }) => type === 'subscribed')
  await startFlow(runner.url, flowId)
  await expect(next(({ type }) => type === 'end')).resolves.toMatchObject({ status: 'COMPLETED' })
  expect(text).toBe(writtenText(writing))
  expect(seqs.every((seq, index) => seq > (seqs[index - 1] ?? 0))).toBe(true)
  expect(cuts).toBe(1)
  report('update in one process to WebSocket client of another, with up to 50 ms of batching', latenciesMs)
})
