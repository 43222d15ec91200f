import { setTimeout as sleep } from 'node:timers/promises'

export const QUESTION = 'How does a suspension bridge carry its load, and what limits its span? '.repeat(3).trim()

const EXPECTED = { seq: 675, par: 1350 }
const ANSWER_CHARACTERS = 1199

/** Runs one flow and refuses a result that did not take all calls: a flow that skips one must not look fast. */
export async function runOne(side, kind) {
  const result = await side.runFlow(kind, QUESTION)
  if (result.text?.length !== ANSWER_CHARACTERS || result.tokens !== EXPECTED[kind]) {
    throw new Error(
      `${kind}: expected ${ANSWER_CHARACTERS} characters and ${EXPECTED[kind]} tokens, found ${result.text?.length} and ${result.tokens}`,
    )
  }
}

/** `inFlight` workers, each starting `one` again as long as `more` says so. */
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

/** Runs `work` on a heap without garbage of others; resolves with what it took in wall clock and CPU. */
export async function timed(work) {
  globalThis.gc()
  const cpuBefore = cpuMs()
  const start = performance.now()
  await work()
  return { wallMs: performance.now() - start, cpuMs: cpuMs() - cpuBefore }
}

/** Bytes alive, after everything that can be collected is. */
export async function aliveBytes() {
  for (let round = 0; round < 3; round++) {
    globalThis.gc()
    await sleep(50)
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** Measures both sides `rounds` times next to each other, the order turned round after round; resolves with pairs. */
export async function alternate(rounds, sides, measure) {
  const pairs = []
  for (let round = 0; round < rounds; round++) {
    const pair = {}
    for (const name of round % 2 === 0 ? ['floor', 'ours'] : ['ours', 'floor']) pair[name] = await measure(sides[name])
    pairs.push(pair)
  }
  return pairs
}

/** The pairs of one number inside each measurement. */
export const pairsOf = (pairs, read) => pairs.map(({ ours, floor }) => ({ ours: read(ours), floor: read(floor) }))
