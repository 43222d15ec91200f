// npm run bench -- [--quick] [--json] [--only cpu…] [--variants mem,pg,pglite,bull] [--profile] [--in-flight 1]: the
// overhead of Polyphony compared with the bare calls. See README.md.
import { cpus, loadavg, totalmem } from 'node:os'
import { parseArgs } from 'node:util'
import { judge } from './lib/figures.mjs'
import { experiments, profile } from './lib/plan.mjs'
import { openPostgres } from './lib/postgres.mjs'
import { startProvider } from './lib/provider.mjs'
import { needsPostgres } from './lib/sides.mjs'
import { toPlaceList, toTable } from './lib/table.mjs'

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
    only: { type: 'string' },
    'in-flight': { type: 'string', default: '10' },
    variants: { type: 'string', default: 'mem,pg' },
  },
})
const asked = (options.only ?? Object.keys(experiments).join(',')).split(',')
const unknown = asked.filter((name) => !(name in experiments))
if (unknown.length > 0) {
  console.error(`--only: expected some of ${Object.keys(experiments).join(', ')}, found ${unknown.join(', ')}`)
  process.exit(2)
}
const variants = options.variants.split(',')
const tell = options.json ? () => {} : (line) => console.log(line)

const machine = () => ({
  date: new Date().toISOString().slice(0, 10),
  node: process.version,
  platform: `${process.platform}-${process.arch}`,
  cpus: cpus().length,
  memoryGb: Math.round(totalmem() / 2 ** 30),
  load: loadavg().map((load) => Number(load.toFixed(1))),
})

const started = machine()
const skipped = []
const rows = []
const profiles = {}
const provider = await startProvider()
const postgres = await openPostgres().catch((error) => ({ problem: error.message, close: async () => {} }))
const bench = { provider, postgres, quick: options.quick }

const close = async () => {
  provider.stop()
  await postgres.close()
}
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void close().finally(() => process.exit(130)))

async function runAll() {
  for (const variant of variants) {
    if (needsPostgres(variant) && postgres.problem) {
      skipped.push({ variant, reason: `no Postgres: ${postgres.problem}` })
      continue
    }
    if (options.profile) profiles[variant] = await profile(bench, variant, Number(options['in-flight']))
    else for (const name of asked) await runExperiment(name, variant)
  }
}

async function runExperiment(name, variant) {
  const experiment = experiments[name]
  const meaningful = options.quick ? experiment.quick : experiment.variants
  if (!meaningful.includes(variant)) return
  const start = performance.now()
  try {
    for (const row of await experiment.run(bench, variant)) rows.push(judge({ variant, ...row }))
    if (process.stderr.isTTY) console.error(`${name} ${variant}: ${((performance.now() - start) / 1000).toFixed(0)} s`)
  } catch (error) {
    skipped.push({ variant, experiment: name, reason: error.message })
    process.exitCode = 1
  }
}

const FLOOR_WORDS = {
  mem: 'in memory, against SDK calls in a loop',
  pg: 'on Postgres, against SDK calls in a loop and plain inserts',
  bull: 'with engine bullmq on Postgres, against SDK calls in a loop and plain inserts',
  pglite: 'on PGlite, against SDK calls in a loop and plain inserts into Postgres',
}

function print() {
  const { date, node, platform, cpus: cores, memoryGb, load } = started
  tell(
    `${date}, Node ${node.slice(1)}, ${platform}, ${cores} cores, ${memoryGb} GB; load ${load[0]} before, ${machine().load[0]} after`,
  )
  if (postgres.origin) tell(`Postgres: ${postgres.origin}`)
  for (const variant of variants) {
    const ofVariant = rows.filter((row) => row.variant === variant)
    if (ofVariant.length > 0) tell(`\nPolyphony ${FLOOR_WORDS[variant] ?? variant}\n\n${toTable(ofVariant)}`)
    for (const [title, { unit, places }] of Object.entries(profiles[variant] ?? {})) {
      tell(`\n${title} (${variant})\n${toPlaceList(places, unit)}`)
    }
  }
  for (const note of new Set(rows.flatMap((row) => row.note ?? []))) tell(`note: ${note}`)
  for (const { variant, experiment, reason } of skipped) tell(`skipped: ${experiment ?? 'everything'} ${variant}: ${reason}`)
  const judged = rows.filter((row) => row.target)
  if (judged.length > 0) tell(`\n${judged.filter((row) => row.met).length} of ${judged.length} targets met`)
}

try {
  await runAll()
  if (options.json)
    console.log(JSON.stringify({ machine: { ...started, loadAfter: machine().load }, rows, skipped, profiles }, null, 2))
  else print()
} finally {
  await close()
}
