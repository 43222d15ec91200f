import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { runOne } from '../lib/load.mjs'
import { createSide } from '../lib/sides.mjs'
import { comparePairs } from '../lib/statistics.mjs'

/** From the start of the process to the moment the first request leaves, imports included. */
export async function measureSide({ side: name, variant, connection }) {
  let leftAtMs
  // Both Node's own `fetch` and the package undici publish on this channel.
  const onRequest = () => {
    leftAtMs = performance.now()
    unsubscribe('undici:request:create', onRequest)
  }
  subscribe('undici:request:create', onRequest)
  const side = await createSide(name, variant, connection)
  await runOne(side, 'seq')
  return leftAtMs
}

export const compare = (pairs) => [{ figure: 'cold-start', kind: 'seq', inFlight: 1, ...comparePairs(pairs) }]
