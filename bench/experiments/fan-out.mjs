import { setTimeout as sleep } from 'node:timers/promises'
import { createFloorSide, createPolyphonySide } from '../contenders/server.mjs'
import { aliveBytes } from '../lib/load.mjs'
import { pin, startReaders } from '../lib/readers.mjs'

const PIECES_PER_SECOND = 40
const READERS = 1_000
const WARM_UP_READERS = 100

const create = { ours: createPolyphonySide, floor: createFloorSide }

const cpuMs = () => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

/** Memory of the process after garbage collection. */
async function settledMemory() {
  const heapBytes = await aliveBytes()
  return { heapBytes, rssBytes: process.memoryUsage.rss() }
}

/**
 * One flow with a thousand readers, and the cost of the readers before it starts. Each side runs in its own process on
 * one core; the readers run on another.
 */
export async function measureSide({ side: name, quick }) {
  const isPinned = pin(process.pid, 0)
  const side = await create[name]({ piecesPerSecond: PIECES_PER_SECOND })
  const readers = startReaders()
  const openReaders = async (count) => readers.ask('open', { count, ...(await side.prepare()) })
  const leave = async () => {
    await readers.ask('leave')
    await sleep(300)
  }
  await openReaders(WARM_UP_READERS)
  await leave()

  const before = await settledMemory()
  await openReaders(READERS)
  await sleep(300)
  const idle = await settledMemory()

  const write = async (seconds) => {
    const count = seconds * PIECES_PER_SECOND
    await readers.ask('reset')
    const cpuBefore = cpuMs()
    const startMs = performance.now()
    await side.write(count)
    const cpuShare = (cpuMs() - cpuBefore) / (performance.now() - startMs)
    await sleep(300)
    const delays = await readers.ask('delays')
    if (delays.count !== count * READERS)
      throw new Error(`expected ${count * READERS} pieces at the readers, found ${delays.count}`)
    await leave()
    return { ...delays, cpuShare }
  }
  await write(2)
  await openReaders(READERS)
  const measured = await write(quick ? 3 : 10)
  readers.stop()
  await side.close()
  return {
    ...measured,
    idleKb: (idle.rssBytes - before.rssBytes) / READERS / 1_024,
    idleHeapKb: (idle.heapBytes - before.heapBytes) / READERS / 1_024,
    isPinned,
  }
}

export function compare({ ours, floor }) {
  const note = ours.isPinned ? undefined : 'the server was not kept on one core: no taskset, or only one core'
  const row = (figure, read) => ({
    figure,
    kind: `${READERS} readers`,
    inFlight: 1,
    ours: read(ours),
    floor: read(floor),
    ratio: read(ours) / read(floor),
    difference: read(ours) - read(floor),
    note,
  })
  return [
    row('delivery', (side) => side.p99),
    row('delivery-median', (side) => side.p50),
    row('fan-out-cpu', (side) => side.cpuShare * 100),
    row('idle-reader', (side) => side.idleKb),
    row('idle-reader-heap', (side) => side.idleHeapKb),
  ]
}
