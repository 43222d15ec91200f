import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { compare as compareColdStarts } from '../experiments/cold-start.mjs'
import { compare as compareFanOut } from '../experiments/fan-out.mjs'
import { compare as compareMemory } from '../experiments/memory.mjs'
import { compare as compareSlowReaders } from '../experiments/slow-readers.mjs'
import { needsPostgres } from './sides.mjs'

const MEASURE = fileURLToPath(new URL('../measure.mjs', import.meta.url))
const TIMEOUT_MS = 300_000

/** Runs one measuring process, with its own empty database if it needs one. */
async function measureOnce(bench, task) {
  const database = needsPostgres(task.variant) ? await bench.postgres.createDatabase() : undefined
  try {
    return await measureWith({ ...task, quick: bench.quick, providerUrl: bench.provider.url, pgUrl: database?.url })
  } finally {
    await database?.drop()
  }
}

function measureWith(task) {
  const child = fork(MEASURE, [JSON.stringify(task)], {
    execArgv: ['--expose-gc', '--no-deprecation'],
    env: { ...process.env, NODE_ENV: 'production' },
    timeout: TIMEOUT_MS,
  })
  return new Promise((resolve, reject) => {
    let answer
    child.on('message', (message) => {
      answer = message
    })
    child.on('error', reject)
    child.on('close', (code, signal) => {
      if (answer?.measured !== undefined) resolve(answer.measured)
      else reject(new Error(answer?.problem ?? `ended with ${signal ?? code} and no answer`))
    })
  })
}

const inOneProcess = (experiment) => (bench, variant) => measureOnce(bench, { experiment, variant })

const inTwoProcesses = (experiment, compare) => async (bench, variant) => {
  const ours = await measureOnce(bench, { experiment, variant, side: 'ours' })
  const floor = await measureOnce(bench, { experiment, variant, side: 'floor' })
  return compare({ ours, floor })
}

async function coldStart(bench, variant) {
  const start = (side) => measureOnce(bench, { experiment: 'cold-start', variant, side })
  const pairs = []
  // The first pair is not counted: it reads the files into the page cache.
  for (let round = 0; round <= (bench.quick ? 3 : 10); round++) {
    const pair = { floor: await start('floor'), ours: await start('ours') }
    if (round > 0) pairs.push(pair)
  }
  return compareColdStarts(pairs)
}

const ALL = ['mem', 'pg', 'pglite', 'bull']
const DURABLE = ['pg', 'bull']

/**
 * The experiments by name: their function, the variants they apply to, and the variants with targets, which `--quick`
 * runs.
 */
export const experiments = {
  allocations: { run: inOneProcess('allocations'), variants: ALL, quick: ['mem'] },
  memory: { run: inTwoProcesses('memory', compareMemory), variants: ALL, quick: ['mem'] },
  database: { run: inOneProcess('database'), variants: DURABLE, quick: DURABLE },
  'cold-start': { run: coldStart, variants: ALL, quick: ['mem'] },
  throughput: { run: inOneProcess('throughput'), variants: ALL, quick: ['mem', 'pg', 'bull'] },
  streaming: { run: inOneProcess('streaming'), variants: ALL, quick: ['mem'] },
  'fan-out': { run: inTwoProcesses('fan-out', compareFanOut), variants: ['mem'], quick: ['mem'] },
  'slow-readers': { run: inTwoProcesses('slow-readers', compareSlowReaders), variants: ['mem'], quick: ['mem'] },
  latency: { run: inOneProcess('latency'), variants: ALL, quick: ['pg'] },
}

/** Functions that cost more than at the floor, per flow. */
export const profile = (bench, variant, inFlight) => measureOnce(bench, { experiment: 'hot-spots', variant, inFlight })
