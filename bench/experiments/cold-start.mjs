import { runOne } from '../lib/load.mjs'
import { createSide } from '../lib/sides.mjs'
import { comparePairs } from '../lib/statistics.mjs'

/** From the start of the process to the moment the first request leaves, imports included. */
export async function measureSide({ side: name, variant, connection }) {
  const send = globalThis.fetch
  let leftAtMs
  globalThis.fetch = (...request) => {
    leftAtMs ??= performance.now()
    return send(...request)
  }
  const side = await createSide(name, variant, connection)
  await runOne(side, 'seq')
  return leftAtMs
}

export const compare = (pairs) => [{ figure: 'cold-start', kind: 'seq', inFlight: 1, ...comparePairs(pairs) }]
