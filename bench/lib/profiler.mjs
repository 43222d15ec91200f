import { Session } from 'node:inspector/promises'

const ALLOCATION_SAMPLE_BYTES = 4096
const CPU_SAMPLE_US = 200

/** Names the owner of a frame: a package, a part of Node, or a file of Polyphony. */
function toOrigin({ url, functionName, lineNumber }) {
  if (!url) return functionName.startsWith('(') ? functionName : '(native)'
  const packageName = /.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url)?.[1]
  if (packageName) return packageName
  if (url.startsWith('node:')) return url.split('/').slice(0, 3).join('/')
  return `${url.split('/').slice(-2).join('/')}:${lineNumber + 1}`
}

const toPlace = (frame) => `${frame.functionName || '(anonymous)'} [${toOrigin(frame)}]`

async function withSession(work) {
  const session = new Session()
  session.connect()
  try {
    return await work(session)
  } finally {
    session.disconnect()
  }
}

/**
 * Samples the heap allocations of `work`; with `alive` only those that survive it. Resolves with bytes in total and by
 * function.
 */
export const sampleAllocations = (work, { alive = false } = {}) =>
  withSession(async (session) => {
    globalThis.gc()
    await session.post('HeapProfiler.startSampling', {
      samplingInterval: ALLOCATION_SAMPLE_BYTES,
      includeObjectsCollectedByMajorGC: !alive,
      includeObjectsCollectedByMinorGC: !alive,
    })
    await work()
    if (alive) globalThis.gc()
    const { profile } = await session.post('HeapProfiler.stopSampling')
    const places = new Map()
    let bytes = 0
    const visit = (node) => {
      bytes += node.selfSize
      if (node.selfSize > 0) {
        const place = toPlace(node.callFrame)
        places.set(place, (places.get(place) ?? 0) + node.selfSize)
      }
      node.children.forEach(visit)
    }
    visit(profile.head)
    return { bytes, places }
  })

/** Samples the CPU time of `work`. Resolves with microseconds in total and by function, without idle time. */
export const sampleCpu = (work) =>
  withSession(async (session) => {
    await session.post('Profiler.enable')
    await session.post('Profiler.setSamplingInterval', { interval: CPU_SAMPLE_US })
    await session.post('Profiler.start')
    await work()
    const { profile } = await session.post('Profiler.stop')
    const frames = new Map(profile.nodes.map((node) => [node.id, node.callFrame]))
    const places = new Map()
    let microseconds = 0
    profile.samples.forEach((id, index) => {
      const frame = frames.get(id)
      // A frame `dispatch` without a file belongs to the profiler.
      if (frame.functionName === '(idle)' || (frame.functionName === 'dispatch' && !frame.url)) return
      const place = toPlace(frame)
      places.set(place, (places.get(place) ?? 0) + profile.timeDeltas[index])
      microseconds += profile.timeDeltas[index]
    })
    return { microseconds, places }
  })

/** Counts calls of every function while `work` runs. Other processes on the machine do not change this number. */
export const countCalls = (work) =>
  withSession(async (session) => {
    await session.post('Profiler.enable')
    await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false })
    await work()
    const { result: scripts } = await session.post('Profiler.takePreciseCoverage')
    await session.post('Profiler.stopPreciseCoverage')
    const places = new Map()
    for (const { url, functions } of scripts) {
      for (const { functionName, ranges } of functions) {
        const place = `${functionName || '(anonymous)'} [${url.split('/').slice(-2).join('/')} at character ${ranges[0].startOffset}]`
        places.set(place, (places.get(place) ?? 0) + ranges[0].count)
      }
    }
    return { places }
  })

/** The functions that cost more on our side than at the floor, largest difference first. */
export const aboveFloor = (ours, floor) =>
  [...ours]
    .map(([place, amount]) => ({ place, ours: amount, floor: floor.get(place) ?? 0 }))
    .sort((a, b) => b.ours - b.floor - (a.ours - a.floor))
