import { alternate, pairsOf, QUESTION, runCount, runFor, timed } from '../lib/load.mjs'
import { createPacer } from '../lib/pacer.mjs'
import { createSides } from '../lib/sides.mjs'
import { comparePairs, median } from '../lib/statistics.mjs'

const TOKENS_PER_FLOW = 120

async function streamOne(side) {
  const start = performance.now()
  let firstMs
  let tokens = 0
  await side.streamFlow(QUESTION, (text) => {
    firstMs ??= performance.now() - start
    for (let at = text.indexOf(' '); at >= 0; at = text.indexOf(' ', at + 1)) tokens++
  })
  if (tokens !== TOKENS_PER_FLOW) throw new Error(`stream: expected ${TOKENS_PER_FLOW} tokens, found ${tokens}`)
  return firstMs
}

/** CPU per token at full speed of the socket, and time to the first token at 20 ms latency and 2 ms between tokens. */
export async function measure({ variant, connection, quick, providerUrl }) {
  const pacer = createPacer(providerUrl)
  const sides = await createSides(variant, connection)
  const burst = (durationMs) => async (side) => {
    let flows = 0
    const took = await timed(() =>
      runFor(durationMs, 10, async () => {
        await streamOne(side)
        flows++
      }),
    )
    return (took.cpuMs * 1000) / flows / TOKENS_PER_FLOW
  }
  const paced = async (side) => {
    const firstMs = []
    await runCount(quick ? 4 : 14, 2, async () => {
      firstMs.push(await streamOne(side))
    })
    return median(firstMs)
  }
  await pacer.set(0)
  await alternate(1, sides, burst(quick ? 300 : 1500))
  const bursts = await alternate(quick ? 3 : 10, sides, burst(quick ? 200 : 600))
  await pacer.set(20, 2)
  await alternate(1, sides, paced)
  const first = await alternate(quick ? 2 : 6, sides, paced)
  return [
    { figure: 'token', kind: 'seq', inFlight: 10, ...comparePairs(pairsOf(bursts, (microseconds) => microseconds)) },
    { figure: 'first-token', kind: 'seq', inFlight: 2, ...comparePairs(pairsOf(first, (firstMs) => firstMs)) },
  ]
}
