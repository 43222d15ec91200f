import { alternate, pairsOf, runCount, runOne } from '../lib/load.mjs'
import { createPacer } from '../lib/pacer.mjs'
import { sampleAllocations } from '../lib/profiler.mjs'
import { createSides } from '../lib/sides.mjs'
import { comparePairs } from '../lib/statistics.mjs'

const IN_FLIGHT = 10

/** Bytes allocated on the JavaScript heap per flow, collected ones included. */
export async function measure({ variant, connection, quick, providerUrl }) {
  const pacer = createPacer(providerUrl)
  const flows = quick ? 150 : 300
  const sides = await createSides(variant, connection)
  await pacer.set(0)
  const run = (side, kind, count) => runCount(count, IN_FLIGHT, () => runOne(side, kind))
  const rows = []
  for (const kind of ['seq', 'par']) {
    await alternate(1, sides, (side) => run(side, kind, quick ? 200 : 600))
    const pairs = await alternate(quick ? 1 : 3, sides, async (side) => {
      const sampled = await sampleAllocations(() => run(side, kind, flows))
      return sampled.bytes / flows / 1024
    })
    rows.push({ figure: 'allocations', kind, inFlight: IN_FLIGHT, ...comparePairs(pairsOf(pairs, (kB) => kB)) })
  }
  return rows
}
