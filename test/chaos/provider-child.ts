import { createCallLog } from './call-log.ts'

/** What the parent process gets: where the provider is, and on request when each call has arrived. */
export type ProviderReport =
  | { readonly type: 'open'; readonly url: string }
  | { readonly type: 'arrivals'; readonly arrivedAtMs: readonly number[] }

/** `<milliseconds>`: a provider in a process of its own, so that a busy test does not delay what it measures. */
const answerMs = Number(process.argv[2])
const report = (message: ProviderReport) => void process.send?.(message)

const provider = await createCallLog({ answerMs: () => answerMs })
process.on('message', () => report({ type: 'arrivals', arrivedAtMs: provider.calls.map((call) => call.arrivedAtMs) }))
report({ type: 'open', url: provider.url })
