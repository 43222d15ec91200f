import { setTimeout as sleep } from 'node:timers/promises'

export const QUESTION = 'How does a suspension bridge carry its load, and what limits its span? '.repeat(3).trim()

const EXPECTED = { seq: 675, par: 1350 }
const ANSWER_CHARACTERS = 1199

/** Runs one flow and rejects a result without all calls: a flow that skips a call must not appear fast. */
export async function runOne(side, kind) {
  const result = await side.runFlow(kind, QUESTION)
  if (result.text?.length !== ANSWER_CHARACTERS || result.tokens !== EXPECTED[kind]) {
    throw new Error(
      `${kind}: expected ${ANSWER_CHARACTERS} characters and ${EXPECTED[kind]} tokens, found ${result.text?.length} and ${result.tokens}`,
    )
  }
}

/** Runs `inFlight` workers, each of which repeats `one` while `more` returns true. */
export async function keepInFlight(inFlight, more, one) {
  const worker = async () => {
    while (more()) await one()
  }
  await Promise.all(Array.from({ length: inFlight }, worker))
}

export async function runCount(count, inFlight, one) {
  let started = 0
  await keepInFlight(Math.min(inFlight, count), () => started++ < count, one)
}

export async function runFor(durationMs, inFlight, one) {
  const end = performance.now() + durationMs
  await keepInFlight(inFlight, () => performance.now() < end, one)
}

const cpuMs = () => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** Runs `work` after a garbage collection; resolves with its wall-clock time and CPU time. */
export async function timed(work) {
  globalThis.gc()
  const cpuBefore = cpuMs()
  const start = performance.now()
  await work()
  return { wallMs: performance.now() - start, cpuMs: cpuMs() - cpuBefore }
}

/** Live bytes after garbage collection. */
export async function aliveBytes() {
  for (let round = 0; round < 3; round++) {
    globalThis.gc()
    await sleep(50)
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** Measures both sides `rounds` times in alternating order; resolves with the pairs. */
export async function alternate(rounds, sides, measure) {
  const pairs = []
  for (let round = 0; round < rounds; round++) {
    const pair = {}
    for (const name of round % 2 === 0 ? ['floor', 'ours'] : ['ours', 'floor']) pair[name] = await measure(sides[name])
    pairs.push(pair)
  }
  return pairs
}

/** The pairs of one value of the measurements. */
export const pairsOf = (pairs, read) => pairs.map(({ ours, floor }) => ({ ours: read(ours), floor: read(floor) }))
