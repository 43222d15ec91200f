// A discrete-event simulation of a fleet: flows arrive, wait for a worker, call providers and write to one database.
// Pure: the same options give the same result.
import { createAgenda, createHistogram, createQueue, createRandom, createServers } from './simulation-parts.mjs'

const DAY_S = 86_400

/** Arrivals per second at a time: a daily curve, times `bursts.factor` within a burst. The mean is `flowsPerDay`. */
export function arrivalRate({ flowsPerDay, dailySwing, bursts }, atS) {
  const { perDay, lengthS, factor } = bursts
  const curve = 1 - dailySwing * Math.cos((2 * Math.PI * atS) / DAY_S)
  const period = DAY_S / Math.max(1, perDay)
  const inPeriod = atS % period
  const inBurst = perDay > 0 && inPeriod >= period / 2 && inPeriod < period / 2 + lengthS
  return (flowsPerDay / (DAY_S + perDay * lengthS * (factor - 1))) * curve * (inBurst ? factor : 1)
}

/**
 * Simulates `durationS` seconds. `simulate.mjs` shows all options. `costs` has `statements`, `walBytes`, `storedBytes`,
 * `executionMs` and `commits`, each as `{ perFlow, perStep }`. At every instant
 * `arrived = done + waiting + running`.
 */
export function simulateFleet({ seed, durationS, arrivals, stepShares, latencyS, accounts, fleet, database, costs }) {
  const arriving = createRandom(seed)
  const choosing = createRandom(seed + 1)
  const dying = createRandom(seed + 2)
  const agenda = createAgenda()
  const queue = createQueue()
  const cores = createServers(database.cores)
  const workers = Array.from({ length: fleet.workers }, () => ({ isUp: true, running: new Set() }))
  /** One entry per free slot. A slot is taken at random, because a notification of the queue reaches all workers. */
  const open = workers.flatMap((worker) => new Array(fleet.concurrency).fill(worker))
  const nextCall = new Array(accounts.count).fill(0)
  const minutes = []
  const waitsMs = createHistogram()
  const depths = createHistogram()
  const totals = { arrived: 0, done: 0, steps: 0, calls: 0, repeatedCalls: 0, deaths: 0, storedBytes: 0 }
  const most = { running: 0, waiting: 0, waitMs: 0, rateWaitS: 0, writeS: 0 }
  let waiting = 0
  let running = 0
  let now = 0

  const peakRate =
    arrivalRate({ ...arrivals, dailySwing: 0 }, DAY_S / Math.max(1, arrivals.bursts.perDay) / 2) * (1 + arrivals.dailySwing)
  const thisMinute = () =>
    (minutes[Math.floor(now / 60)] ??= { arrivals: 0, calls: 0, statements: 0, walBytes: 0, commits: 0, executionMs: 0 })

  const partOf = (share) => Object.fromEntries(Object.entries(costs).map(([name, cost]) => [name, share(cost)]))
  const halfFlow = partOf(({ perFlow }) => perFlow / 2)
  const oneStep = partOf(({ perStep }) => perStep)

  /** Charges the database with a part of the cost of a flow, and calls `then` when that is durable. */
  function write(part, then) {
    const minute = thisMinute()
    for (const name of ['statements', 'walBytes', 'commits', 'executionMs']) minute[name] += part[name]
    totals.storedBytes += part.storedBytes
    const at = cores.reserve(now, part.executionMs / 1000) + database.commitS
    most.writeS = Math.max(most.writeS, at - now)
    agenda.add(at, then)
  }

  function arrive() {
    agenda.add(now + arriving.exponential(1 / peakRate), arrive)
    if (arriving.uniform() * peakRate > arrivalRate(arrivals, now)) return
    // The steps and latencies of a flow do not depend on what happens to other flows.
    const random = createRandom(Math.imul(seed, 0x9e3779b1) + totals.arrived)
    const flow = { random, left: stepsOf(random.uniform()), arrivedAt: now, epoch: 0, isCalling: false, wasStarted: false }
    totals.arrived++
    waiting++
    thisMinute().arrivals++
    write(halfFlow, () => agenda.add(now + fleet.pickUpS, () => enqueue(flow)))
  }

  function stepsOf(share) {
    let left = share
    for (const { steps, share: part } of stepShares) {
      left -= part
      if (left < 0) return steps
    }
    return stepShares.at(-1).steps
  }

  function enqueue(flow) {
    queue.push(flow)
    takeNext()
  }

  function takeNext() {
    while (queue.size() > 0 && open.length > 0) {
      const index = choosing.below(open.length)
      const worker = open[index]
      open[index] = open.at(-1)
      open.pop()
      if (worker.isUp) start(queue.shift(), worker)
    }
    most.waiting = Math.max(most.waiting, waiting)
  }

  function start(flow, worker) {
    waiting--
    running++
    most.running = Math.max(most.running, running)
    flow.worker = worker
    worker.running.add(flow)
    if (!flow.wasStarted) {
      flow.wasStarted = true
      const waitMs = Math.round((now - flow.arrivedAt) * 1000)
      most.waitMs = Math.max(most.waitMs, waitMs)
      waitsMs.add(waitMs)
    }
    call(flow)
  }

  /** One step: a slot of its account, the call, the write. An event of an earlier epoch changes nothing. */
  function call(flow) {
    const { epoch, random } = flow
    const account = random.below(accounts.count)
    const at = Math.max(now, nextCall[account])
    nextCall[account] = at + 60 / accounts.requestsPerMinute
    most.rateWaitS = Math.max(most.rateWaitS, at - now)
    totals.calls++
    thisMinute().calls++
    flow.isCalling = true
    agenda.add(at + random.logNormal(latencyS), () => {
      if (flow.epoch !== epoch) return
      flow.isCalling = false
      write(oneStep, () => {
        if (flow.epoch !== epoch) return
        totals.steps++
        flow.left--
        if (flow.left > 0) call(flow)
        else end(flow)
      })
    })
  }

  function end(flow) {
    const { epoch } = flow
    write(halfFlow, () => {
      if (flow.epoch !== epoch) return
      leave(flow)
      totals.done++
      takeNext()
    })
  }

  function leave(flow) {
    const { worker } = flow
    flow.epoch++
    worker.running.delete(flow)
    if (worker.isUp) open.push(worker)
    running--
  }

  /** A worker dies; its flows wait until its lock has run out, and it is back after its restart. */
  function die() {
    agenda.add(now + dying.exponential(fleet.meanLifeS / fleet.workers), die)
    const worker = workers[dying.below(workers.length)]
    if (!worker.isUp) return
    worker.isUp = false
    totals.deaths++
    const interrupted = [...worker.running]
    for (const flow of interrupted) {
      if (flow.isCalling) totals.repeatedCalls++
      flow.isCalling = false
      leave(flow)
    }
    waiting += interrupted.length
    agenda.add(now + fleet.takeoverS, () => {
      for (const flow of interrupted) enqueue(flow)
    })
    agenda.add(now + fleet.restartS, () => {
      for (let index = open.length - 1; index >= 0; index--) if (open[index] === worker) open.splice(index, 1)
      for (let slot = 0; slot < fleet.concurrency; slot++) open.push(worker)
      worker.isUp = true
      takeNext()
    })
  }

  function sample() {
    depths.add(waiting)
    agenda.add(now + 1, sample)
  }

  agenda.add(0, arrive)
  agenda.add(0.5, sample)
  if (fleet.meanLifeS > 0) agenda.add(dying.exponential(fleet.meanLifeS / fleet.workers), die)
  while (agenda.nextAt() < durationS) {
    const event = agenda.next()
    now = event.at
    event.run()
  }

  const sumOf = (name) => minutes.reduce((sum, minute) => sum + (minute?.[name] ?? 0), 0)
  const peakOf = (name) => minutes.reduce((peak, minute) => Math.max(peak, minute?.[name] ?? 0), 0) / 60
  const rateOf = (name) => ({ mean: sumOf(name) / durationS, peak: peakOf(name), total: sumOf(name) })
  return {
    ...totals,
    waiting,
    running,
    most,
    queueDepth: { p50: depths.quantile(0.5), p99: depths.quantile(0.99), max: most.waiting },
    waitMs: { p50: waitsMs.quantile(0.5), p99: waitsMs.quantile(0.99), max: most.waitMs },
    perSecond: Object.fromEntries(
      ['arrivals', 'calls', 'statements', 'walBytes', 'commits', 'executionMs'].map((name) => [name, rateOf(name)]),
    ),
  }
}
