import { setTimeout as sleep } from 'node:timers/promises'
import { createPolyphonySide } from '../contenders/server.mjs'
import { pin, startReaders } from '../lib/readers.mjs'

const PIECES_PER_SECOND = 40
const HEALTHY = 20
const STOPPED = 200
/** More bytes than the system buffers for a connection without a reader; the server must hold the rest. */
const BEFORE = { count: 220, characters: 25_000 }

/**
 * Delivery to twenty healthy readers by our server: `ours` beside two hundred readers that do not read, `floor` without
 * them.
 */
export async function measureSide({ side: name, quick }) {
  pin(process.pid, 0)
  const side = await createPolyphonySide({ piecesPerSecond: PIECES_PER_SECOND })
  const [healthy, stopped] = [startReaders(), startReaders()]
  const where = await side.prepare()
  await healthy.ask('open', { count: HEALTHY, ...where })
  if (name === 'ours') {
    await stopped.ask('open', { count: STOPPED, ...where })
    await stopped.ask('stop', { count: STOPPED })
  }
  const seconds = quick ? 5 : 15
  await side.write(seconds * PIECES_PER_SECOND, { ...BEFORE, between: () => healthy.ask('reset') })
  await sleep(300)
  const delays = await healthy.ask('delays')
  const rssMb = process.memoryUsage.rss() / 1_048_576
  for (const readers of [healthy, stopped]) readers.stop()
  await side.close()
  return { ...delays, rssMb }
}

export const compare = ({ ours, floor }) => [
  {
    figure: 'healthy-delivery',
    kind: `${HEALTHY} beside ${STOPPED} stopped`,
    inFlight: 1,
    ours: ours.p99,
    floor: floor.p99,
    ratio: ours.p99 / floor.p99,
    difference: ours.p99 - floor.p99,
  },
]
