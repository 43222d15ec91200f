import { setTimeout as sleep } from 'node:timers/promises'
import { aliveBytes, runCount, runOne } from '../lib/load.mjs'
import { createPacer } from '../lib/pacer.mjs'
import { createSide } from '../lib/sides.mjs'
import { median } from '../lib/statistics.mjs'
import { startWaiting } from '../lib/waiting.mjs'

const BACKGROUND_WRITES_MS = 400
const STRETCHES = 3

/**
 * Memory that finished flows leave and that waiting flows hold. Each side has its own process, because a shared heap
 * mixes both.
 */
export async function measureSide({ side: name, variant, connection, quick, providerUrl }) {
  const pacer = createPacer(providerUrl)
  const stretch = quick ? 200 : 1000
  const waiting = quick ? 1000 : 2000
  const side = await createSide(name, variant, connection)
  await pacer.set(0)
  const run = (count) => runCount(count, 20, () => runOne(side, 'seq'))
  const aliveAfter = async (count) => {
    await run(count)
    await sleep(BACKGROUND_WRITES_MS)
    return aliveBytes()
  }
  // Code recompiled during warm-up stays on the heap: the first flows are not counted, and a later jump changes one
  // stretch, not the median.
  let after = await aliveAfter(quick ? 400 : 1500)
  const left = []
  for (let round = 0; round < STRETCHES; round++) {
    const before = after
    after = await aliveAfter(stretch)
    left.push(after - before)
  }

  await startWaiting(side, waiting, pacer)
  await sleep(BACKGROUND_WRITES_MS)
  const held = await aliveBytes()
  await pacer.set(0)
  return { leftKb: median(left) / stretch / 1024, waitingKb: (held - after) / waiting / 1024, waiting }
}

export function compare({ ours, floor }) {
  const row = (read) => ({
    ours: read(ours),
    floor: read(floor),
    ratio: read(ours) / read(floor),
    difference: read(ours) - read(floor),
  })
  return [
    { figure: 'waiting', kind: 'seq', inFlight: ours.waiting, ...row((side) => side.waitingKb) },
    { figure: 'left', kind: 'seq', inFlight: 20, ...row((side) => side.leftKb), ratio: undefined },
  ]
}
