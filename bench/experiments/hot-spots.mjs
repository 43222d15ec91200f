import { runCount, runFor, runOne } from '../lib/load.mjs'
import { createPacer } from '../lib/pacer.mjs'
import { perFlow, sampleAllocations, sampleCpu } from '../lib/profiler.mjs'
import { createSide } from '../lib/sides.mjs'
import { startWaiting } from '../lib/waiting.mjs'

const IN_FLIGHT = 10

/** Where one side's allocations, waiting memory and CPU go, function by function: kB and microseconds per flow. */
export async function measureSide({ side: name, variant, connection, quick, providerUrl }) {
  const pacer = createPacer(providerUrl)
  await pacer.set(0)
  const side = await createSide(name, variant, connection)
  const flows = quick ? 150 : 400
  await runCount(quick ? 400 : 1000, IN_FLIGHT, () => runOne(side, 'seq'))
  const allocated = await sampleAllocations(() => runCount(flows, IN_FLIGHT, () => runOne(side, 'seq')))
  let timedFlows = 0
  const spent = await sampleCpu(() =>
    runFor(quick ? 1500 : 4000, IN_FLIGHT, async () => {
      await runOne(side, 'seq')
      timedFlows++
    }),
  )
  const held = await sampleAllocations(() => startWaiting(side, flows, pacer), { alive: true })
  return {
    allocatedKb: perFlow(allocated.places, flows * 1024),
    heldKb: perFlow(held.places, flows * 1024),
    cpuUs: perFlow(spent.places, timedFlows),
  }
}
