import { alternate, runCount, runFor, runOne } from '../lib/load.mjs'
import { createPacer } from '../lib/pacer.mjs'
import { aboveFloor, countCalls, sampleAllocations, sampleCpu } from '../lib/profiler.mjs'
import { createSides } from '../lib/sides.mjs'
import { startWaiting } from '../lib/waiting.mjs'

/** Functions that cost more than at the floor: kB, microseconds and calls per flow. */
export async function measure({ variant, connection, quick, inFlight, providerUrl }) {
  const pacer = createPacer(providerUrl)
  const sides = await createSides(variant, connection)
  const flows = quick ? 100 : 200
  const run = (side) => runCount(flows, inFlight, () => runOne(side, 'seq'))
  const allocations = async (side) => ({ flows, places: (await sampleAllocations(() => run(side))).places })
  const cpu = async (side) => {
    let finished = 0
    const work = () =>
      runFor(quick ? 300 : 700, inFlight, async () => {
        await runOne(side, 'seq')
        finished++
      })
    const { places } = await sampleCpu(work)
    return { flows: finished, places }
  }
  const calls = async (side) => ({ flows, places: (await countCalls(() => run(side))).places })
  const waiting = async (side) => {
    const { places } = await sampleAllocations(() => startWaiting(side, flows, pacer), { alive: true })
    return { flows, places }
  }
  await pacer.set(0)
  await alternate(4, sides, run)
  return {
    allocated: toAbove(await alternate(4, sides, allocations), 'kB', 1024),
    CPU: toAbove(await alternate(8, sides, cpu), 'µs', 1),
    calls: toAbove(await alternate(1, sides, calls), '', 1),
    'held while waiting': toAbove(await alternate(1, sides, waiting), 'kB', 1024),
  }
}

function toAbove(pairs, unit, scale) {
  const ours = perFlow(
    pairs.map((pair) => pair.ours),
    scale,
  )
  const floor = perFlow(
    pairs.map((pair) => pair.floor),
    scale,
  )
  return { unit, places: aboveFloor(ours, floor) }
}

/** Combines the samples of several slices to one amount per flow and function, and one for all functions. */
function perFlow(slices, scale) {
  const divisor = slices.reduce((flows, slice) => flows + slice.flows, 0) * scale
  const amounts = new Map()
  const add = (place, amount) => amounts.set(place, (amounts.get(place) ?? 0) + amount / divisor)
  for (const { places } of slices) {
    for (const [place, amount] of places) {
      add('(all functions)', amount)
      add(place, amount)
    }
  }
  return amounts
}
