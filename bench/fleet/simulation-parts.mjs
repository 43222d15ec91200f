// What a discrete-event simulation consists of, without knowledge of flows.

/** Random numbers of a seed (mulberry32), in distributions. */
export function createRandom(seed) {
  let state = seed >>> 0
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform())
  return {
    uniform,
    exponential: (mean) => -Math.log(1 - uniform()) * mean,
    logNormal: ({ median, sigma }) => median * Math.exp(sigma * normal()),
    below: (count) => Math.floor(uniform() * count),
  }
}

/** Events ordered by time; equal times keep the order in which they were added. */
export function createAgenda() {
  const heap = []
  let added = 0
  const isBefore = (a, b) => a.at < b.at || (a.at === b.at && a.order < b.order)
  return {
    add(at, run) {
      const event = { at, order: added++, run }
      let index = heap.push(event) - 1
      while (index > 0) {
        const parent = (index - 1) >> 1
        if (!isBefore(event, heap[parent])) break
        heap[index] = heap[parent]
        index = parent
      }
      heap[index] = event
    },
    next() {
      const first = heap[0]
      const last = heap.pop()
      if (heap.length === 0) return first
      let index = 0
      for (;;) {
        let child = 2 * index + 1
        if (child + 1 < heap.length && isBefore(heap[child + 1], heap[child])) child++
        if (child >= heap.length || !isBefore(heap[child], last)) break
        heap[index] = heap[child]
        index = child
      }
      heap[index] = last
      return first
    },
    nextAt: () => heap[0]?.at ?? Number.POSITIVE_INFINITY,
  }
}

/** First in, first out, without moving the rest at every removal. */
export function createQueue() {
  let items = []
  let first = 0
  return {
    push: (item) => items.push(item),
    shift() {
      const item = items[first++]
      if (first > 1024 && first * 2 > items.length) {
        items = items.slice(first)
        first = 0
      }
      return item
    },
    size: () => items.length - first,
  }
}

/** Servers with one queue. `reserve` returns the time at which `serviceS` seconds of work that arrive now are done. */
export function createServers(count) {
  const free = new Array(count).fill(0)
  return {
    reserve(now, serviceS) {
      let earliest = 0
      for (let index = 1; index < count; index++) if (free[index] < free[earliest]) earliest = index
      free[earliest] = Math.max(now, free[earliest]) + serviceS
      return free[earliest]
    },
  }
}

/** How often each of some whole numbers occurred. */
export function createHistogram() {
  const counts = new Map()
  let total = 0
  return {
    add(value) {
      counts.set(value, (counts.get(value) ?? 0) + 1)
      total++
    },
    /** The smallest value that a share of all values does not exceed; 0 without values. */
    quantile(share) {
      let passed = 0
      for (const value of [...counts.keys()].sort((a, b) => a - b)) {
        passed += counts.get(value)
        if (passed >= share * total) return value
      }
      return 0
    },
  }
}
