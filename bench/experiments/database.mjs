import { setTimeout as sleep } from 'node:timers/promises'
import { alternate, pairsOf, runCount, runOne } from '../lib/load.mjs'
import { createPacer } from '../lib/pacer.mjs'
import { openMeter } from '../lib/postgres-meter.mjs'
import { createSides } from '../lib/sides.mjs'
import { comparePairs } from '../lib/statistics.mjs'

const BACKGROUND_WRITES_MS = 300

/** SQL statements and bytes of write-ahead log per flow. */
export async function measure({ variant, connection, quick, providerUrl }) {
  const pacer = createPacer(providerUrl)
  const sides = await createSides(variant, connection)
  const meter = await openMeter(connection.pgUrl)
  await pacer.set(0)
  const slice = (kind, inFlight, flows) => async (side) => {
    const before = await meter.read()
    await runCount(flows, inFlight, () => runOne(side, kind))
    await sleep(BACKGROUND_WRITES_MS)
    const after = await meter.read()
    return {
      statements: (after.statements - before.statements) / flows,
      walKb: (after.walBytes - before.walBytes) / flows / 1024,
      foreign: after.foreign - before.foreign,
    }
  }
  const rows = []
  for (const kind of ['seq', 'par']) {
    for (const inFlight of quick ? [1, 100] : [1, 10, 100]) {
      const flows = inFlight === 1 ? (quick ? 30 : 60) : inFlight * (quick ? 2 : 6) + 100
      await alternate(1, sides, slice(kind, inFlight, flows))
      const pairs = await alternate(quick ? 1 : 5, sides, slice(kind, inFlight, flows))
      const quiet = pairs.filter(({ ours, floor }) => ours.foreign + floor.foreign === 0)
      const used = quiet.length > 0 ? quiet : pairs
      const of = (read) => comparePairs(pairsOf(used, read))
      const note = quiet.length > 0 ? undefined : 'other clients wrote meanwhile'
      rows.push({ figure: 'statements', kind, inFlight, ...of((taken) => taken.statements), note: meter.note })
      rows.push({ figure: 'wal', kind, inFlight, ...of((taken) => taken.walKb), note })
    }
  }
  await meter.close()
  return rows
}
