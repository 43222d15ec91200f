// node bench/fleet/measure.mjs [--flows 200] [--in-flight 2] [--latency 20] [--out bench/fleet/measured.json]: what one
// flow costs the database with engine bullmq, measured with two processes of the built package. The result is the
// input of simulate.mjs. The server is that of DATABASE_URL and needs pg_stat_statements; see bench/README.md.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { cpus, loadavg } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { createPacer } from '../lib/pacer.mjs'
import { openPostgres } from '../lib/postgres.mjs'
import { startProvider } from '../lib/provider.mjs'
import { quantile } from '../lib/statistics.mjs'
import { differenceOf, openFleetMeter } from './fleet-meter.mjs'

const { values: options } = parseArgs({
  options: {
    flows: { type: 'string', default: '200' },
    'in-flight': { type: 'string', default: '2' },
    latency: { type: 'string', default: '20' },
    idle: { type: 'string', default: '20' },
    out: { type: 'string', default: fileURLToPath(new URL('./measured.json', import.meta.url)) },
  },
})
const PROCESSES = 2
const WORKER = fileURLToPath(new URL('./fleet-worker.mjs', import.meta.url))
/**
 * Milliseconds after the last flow in which texts are joined and slots end. A backend of Postgres reports its
 * transactions up to ten seconds late.
 */
const BACKGROUND_MS = 12_000
const STEP_COUNTS = [3, 10]

const loadNow = () => Number(loadavg()[0].toFixed(1))
const round = (value, digits = 3) => Number(value.toPrecision(digits))

async function startWorker(settings) {
  const child = fork(WORKER, [JSON.stringify(settings)], { env: { ...process.env, NODE_ENV: 'production' } })
  const next = async () => {
    const [message] = await once(child, 'message')
    if (message.problem) throw new Error(message.problem)
    return message
  }
  await next()
  return {
    ask(task) {
      child.send(task)
      return next()
    },
    async close() {
      const ended = once(child, 'exit')
      child.send({ close: true })
      await ended
    },
  }
}

/** Cost of one flow, from a run of `flows` flows over all processes. */
async function measureFlows({ workers, meter, steps, flows, inFlight }) {
  const task = { steps, flows: Math.ceil(flows / workers.length), inFlight }
  const before = await meter.read()
  const start = performance.now()
  const answers = await Promise.all(workers.map((worker) => worker.ask(task)))
  const wallMs = performance.now() - start
  const { connections } = await meter.read()
  await sleep(BACKGROUND_MS)
  const after = await meter.read()
  const taken = answers.flatMap((answer) => answer.taken)
  const each = Object.fromEntries(
    Object.entries(differenceOf(before, after)).map(([name, value]) => [name, round(value / taken.length)]),
  )
  const waits = taken.map(({ waitMs }) => waitMs)
  return {
    steps,
    flows: taken.length,
    inFlightPerProcess: inFlight,
    flowsPerSecond: round((taken.length / wallMs) * 1000),
    perFlow: { ...each, cpuMs: round(answers.reduce((sum, { cpuMs }) => sum + cpuMs, 0) / taken.length) },
    queueWaitMs: { p50: round(quantile(waits, 0.5)), p99: round(quantile(waits, 0.99)) },
    elapsedMs: {
      p50: round(
        quantile(
          taken.map(({ elapsedMs }) => elapsedMs),
          0.5,
        ),
      ),
    },
    connectionsPerProcess: connections / workers.length,
  }
}

/** What processes without flows cost the database, per process and second. */
async function measureIdle({ workers, meter, seconds }) {
  const before = await meter.read()
  await sleep(seconds * 1000)
  const after = await meter.read()
  const perSecond = Object.entries(differenceOf(before, after)).map(([name, value]) => [
    name,
    round(value / seconds / workers.length),
  ])
  return {
    seconds,
    perProcessPerSecond: Object.fromEntries(perSecond),
    connectionsPerProcess: after.connections / workers.length,
  }
}

const provider = await startProvider()
const postgres = await openPostgres()
const workers = []
try {
  const database = await postgres.createDatabase()
  await createPacer(provider.url).set(Number(options.latency))
  const settings = { pgUrl: database.url, baseURL: `${provider.url}/v1` }
  const meter = await openFleetMeter(database.url)
  const loadBefore = loadNow()
  for (let index = 0; index < PROCESSES; index++) workers.push(await startWorker(settings))
  await Promise.all(workers.map((worker) => worker.ask({ steps: 3, flows: 10, inFlight: 2 })))
  await sleep(BACKGROUND_MS)
  const runs = []
  for (const steps of STEP_COUNTS) {
    runs.push(await measureFlows({ workers, meter, steps, flows: Number(options.flows), inFlight: Number(options['in-flight']) }))
  }
  const idle = await measureIdle({ workers, meter, seconds: Number(options.idle) })
  const measured = {
    date: new Date().toISOString().slice(0, 16),
    node: process.version,
    cores: cpus().length,
    load: { before: loadBefore, after: loadNow() },
    postgres: { ...(await meter.server()), origin: postgres.origin },
    processes: PROCESSES,
    providerLatencyMs: Number(options.latency),
    runs,
    idle,
  }
  await meter.close()
  await Promise.all(workers.map((worker) => worker.close()))
  workers.length = 0
  await database.drop()
  await writeFile(options.out, `${JSON.stringify(measured, null, 2)}\n`)
  console.log(JSON.stringify(measured, null, 2))
} finally {
  await Promise.all(workers.map((worker) => worker.close()))
  provider.stop()
  await postgres.close()
}
