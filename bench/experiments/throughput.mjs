import { alternate, pairsOf, runFor, runOne, timed } from '../lib/load.mjs'
import { createPacer } from '../lib/pacer.mjs'
import { createSides } from '../lib/sides.mjs'
import { comparePairs } from '../lib/statistics.mjs'

/** CPU and flows per second at 1, 10 and 100 in flight, with a model that answers at once. */
export async function measure({ variant, connection, quick, providerUrl }) {
  const pacer = createPacer(providerUrl)
  const rounds = quick ? 3 : 8
  const sliceMs = quick ? 90 : 400
  const sides = await createSides(variant, connection)
  await pacer.set(0)
  const slice = (kind, inFlight, durationMs) => async (side) => {
    let flows = 0
    const took = await timed(() =>
      runFor(durationMs, inFlight, async () => {
        await runOne(side, kind)
        flows++
      }),
    )
    return { cpuMs: took.cpuMs / flows, flowsPerSecond: (flows / took.wallMs) * 1000 }
  }
  const rows = []
  for (const kind of ['seq', 'par']) {
    await alternate(1, sides, slice(kind, 10, quick ? 300 : 1500))
    for (const inFlight of [1, 10, 100]) {
      const pairs = await alternate(rounds, sides, slice(kind, inFlight, sliceMs))
      const of = (read) => comparePairs(pairsOf(pairs, read))
      rows.push({ figure: 'cpu', kind, inFlight, ...of((taken) => taken.cpuMs) })
      rows.push({ figure: 'throughput', kind, inFlight, ...of((taken) => taken.flowsPerSecond) })
    }
  }
  return rows
}
