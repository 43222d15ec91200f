// node bench/fleet/simulate.mjs [--seed 1] [--workers 100] [--concurrency 100] [--flows 1000000] [--hours 24] [--measured
// bench/fleet/measured.json] [--json]: a day of a fleet on paper. The costs of a flow are measured by measure.mjs, the
// load and the machines are assumed, the rest is simulated; the output has a table for each.
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { findLimits } from './capacity.mjs'
import { toCosts } from './costs.mjs'
import { simulateFleet } from './simulation.mjs'

const { values: given } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    workers: { type: 'string', default: '100' },
    concurrency: { type: 'string', default: '100' },
    flows: { type: 'string', default: '1000000' },
    hours: { type: 'string', default: '24' },
    measured: { type: 'string', default: fileURLToPath(new URL('./measured.json', import.meta.url)) },
    json: { type: 'boolean', default: false },
  },
})
const measured = JSON.parse(await readFile(given.measured, 'utf8'))
const costs = toCosts(measured)
const queueWaitMs = Math.min(...measured.runs.map((run) => run.queueWaitMs.p50))

/** Everything that is neither measured nor simulated. */
const options = {
  seed: Number(given.seed),
  durationS: Number(given.hours) * 3600,
  arrivals: { flowsPerDay: Number(given.flows), dailySwing: 0.6, bursts: { perDay: 4, lengthS: 600, factor: 3 } },
  stepShares: [
    { steps: 1, share: 0.2 },
    { steps: 3, share: 0.5 },
    { steps: 10, share: 0.3 },
  ],
  latencyS: { median: 4, sigma: 0.8 },
  accounts: { count: 20, requestsPerMinute: 1_000 },
  fleet: {
    workers: Number(given.workers),
    concurrency: Number(given.concurrency),
    pickUpS: queueWaitMs / 1000,
    meanLifeS: 7 * 86_400,
    // lockMs + 2 * stalledMs, the longest time at the default settings.
    takeoverS: 25,
    restartS: 60,
  },
  database: { cores: 16, commitS: 0.002, transactionsPerSecond: 5_000, walMbPerSecond: 100, maxConnections: 500, diskGb: 2_000 },
  keepDays: 30,
  costs,
}
const startedMs = performance.now()
const simulated = simulateFleet(options)
const limits = findLimits({ simulated, options, measured })

const number = (value) => (value >= 1000 ? Math.round(value).toLocaleString('en') : Number(value.toPrecision(3)).toString())
function toTable(columns, rows) {
  const lines = [columns, ...rows.map((row) => row.map(String))]
  const widths = columns.map((_, column) => Math.max(...lines.map((cells) => cells[column].length)))
  const toLine = (cells) => `| ${cells.map((cell, column) => cell.padEnd(widths[column])).join(' | ')} |`
  return [toLine(columns), toLine(widths.map((width) => '-'.repeat(width))), ...lines.slice(1).map(toLine)].join('\n')
}
const { perSecond, most } = simulated
const { fleet, database, arrivals, accounts } = options
const idle = measured.idle.perProcessPerSecond
const days = options.durationS / 86_400
const withIdle = (name, pick) => perSecond[name][pick] + idle[name] * fleet.workers
const cost = (name) => `${number(costs[name].perFlow)} + ${number(costs[name].perStep)} per step`

function print() {
  const { date, load, cores, node, postgres } = measured
  console.log(`MEASURED on ${date}, Node ${node.slice(1)}, ${cores} cores, load ${load.before} before, ${load.after} after, Postgres ${postgres.version}, fsync ${postgres.fsync}

${toTable(
  ['measured, engine bullmq', 'value'],
  [
    ['statements per flow', cost('statements')],
    ['transactions per flow, reads included', cost('commits')],
    ['write-ahead log per flow, bytes', cost('walBytes')],
    ['stored per flow, bytes', cost('storedBytes')],
    ['execution time in the database, ms', cost('executionMs')],
    ['statements of an idle worker per second', number(idle.statements)],
    [
      'connections of a worker, busy / idle',
      `${number(Math.max(...measured.runs.map((run) => run.connectionsPerProcess)))} / ${number(measured.idle.connectionsPerProcess)}`,
    ],
    ['from start to first call, p50, ms', number(queueWaitMs)],
  ],
)}

${toTable(
  ['ASSUMED', 'value'],
  [
    [
      'flows per day',
      `${number(arrivals.flowsPerDay)}, ${(1 - arrivals.dailySwing).toFixed(1)} to ${(1 + arrivals.dailySwing).toFixed(1)} of the mean over the day`,
    ],
    ['bursts', `${arrivals.bursts.perDay} a day, ${arrivals.bursts.lengthS / 60} min, ${arrivals.bursts.factor} times as much`],
    ['steps of a flow', options.stepShares.map(({ steps, share }) => `${steps}: ${share * 100} %`).join(', ')],
    ['latency of a call', `log-normal, median ${options.latencyS.median} s, sigma ${options.latencyS.sigma}`],
    ['provider accounts', `${accounts.count} with ${number(accounts.requestsPerMinute)} requests per minute each`],
    ['workers', `${fleet.workers} with ${fleet.concurrency} slots each`],
    [
      'a worker dies',
      `every ${fleet.meanLifeS / 86_400} days on average; takeover ${fleet.takeoverS} s, restart ${fleet.restartS} s`,
    ],
    [
      'database',
      `${database.cores} cores, ${number(database.transactionsPerSecond)} transactions/s, ${database.maxConnections} connections, ${number(database.diskGb)} GB for ${options.keepDays} days`,
    ],
  ],
)}

${toTable(
  ['SIMULATED', 'mean', 'busiest minute', 'per day'],
  [
    ['flows per second', number(perSecond.arrivals.mean), number(perSecond.arrivals.peak), number(simulated.arrived / days)],
    ['calls per second', number(perSecond.calls.mean), number(perSecond.calls.peak), number(simulated.calls / days)],
    [
      'statements per second, idle ones included',
      number(withIdle('statements', 'mean')),
      number(withIdle('statements', 'peak')),
      number(withIdle('statements', 'mean') * 86_400),
    ],
    [
      'transactions per second, idle ones included',
      number(withIdle('commits', 'mean')),
      number(withIdle('commits', 'peak')),
      number(withIdle('commits', 'mean') * 86_400),
    ],
    [
      'write-ahead log, MB/s',
      number(withIdle('walBytes', 'mean') / 1e6),
      number(withIdle('walBytes', 'peak') / 1e6),
      `${number((withIdle('walBytes', 'mean') * 86_400) / 1e9)} GB`,
    ],
    [
      'stored, MB/s',
      number(simulated.storedBytes / options.durationS / 1e6),
      '',
      `${number(simulated.storedBytes / days / 1e9)} GB`,
    ],
    [
      'busy cores of the database',
      number(withIdle('executionMs', 'mean') / 1000),
      number(withIdle('executionMs', 'peak') / 1000),
      '',
    ],
  ],
)}

${toTable(
  ['SIMULATED', 'p50', 'p99', 'max'],
  [
    ['flows in the queue', number(simulated.queueDepth.p50), number(simulated.queueDepth.p99), number(simulated.queueDepth.max)],
    ['wait until start, ms', number(simulated.waitMs.p50), number(simulated.waitMs.p99), number(simulated.waitMs.max)],
    ['wait for an account, s', '', '', number(most.rateWaitS)],
    ['running flows', '', '', number(most.running)],
  ],
)}

SIMULATED: ${number(simulated.arrived)} flows arrived, ${number(simulated.done)} done, ${simulated.waiting} queued, ${simulated.running} running; ${simulated.deaths} workers died, ${simulated.repeatedCalls} calls repeated

${toTable(
  ['SIMULATED limit, the nearest first', 'needed', 'assumed', 'used', 'reached at flows a day', 'remedy'],
  limits.map(({ limit, needed, available, unit, share, remedy }) => [
    limit,
    number(needed) + unit,
    number(available) + unit,
    `${Math.round(share * 100)} %`,
    limit === 'connections' ? 'at any: it depends on workers' : number(arrivals.flowsPerDay / share),
    remedy,
  ]),
)}
`)
  if (process.stderr.isTTY) console.error(`simulated in ${((performance.now() - startedMs) / 1000).toFixed(1)} s`)
}

if (given.json) console.log(JSON.stringify({ measured, options, simulated, limits }, null, 2))
else print()
