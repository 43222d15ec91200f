import { alternate, pairsOf, runCount, runOne } from '../lib/load.mjs'
import { createPacer } from '../lib/pacer.mjs'
import { createSides } from '../lib/sides.mjs'
import { comparePairs, median } from '../lib/statistics.mjs'

const PROVIDER_LATENCY_MS = 20
const IN_FLIGHT = 10

/** Median duration of a flow when each call takes 20 ms. */
export async function measure({ variant, connection, quick, providerUrl }) {
  const pacer = createPacer(providerUrl)
  const flows = quick ? 30 : 60
  const sides = await createSides(variant, connection)
  await pacer.set(PROVIDER_LATENCY_MS)
  const slice = (kind) => async (side) => {
    const tookMs = []
    await runCount(flows, IN_FLIGHT, async () => {
      const start = performance.now()
      await runOne(side, kind)
      tookMs.push(performance.now() - start)
    })
    return median(tookMs)
  }
  const rows = []
  for (const kind of ['seq', 'par']) {
    await alternate(quick ? 1 : 3, sides, slice(kind))
    const pairs = await alternate(quick ? 3 : 10, sides, slice(kind))
    rows.push({ figure: 'latency', kind, inFlight: IN_FLIGHT, ...comparePairs(pairsOf(pairs, (p50Ms) => p50Ms)) })
  }
  return rows
}
