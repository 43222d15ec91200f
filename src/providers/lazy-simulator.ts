import type { ProviderKind } from '../config/provider-settings.ts'

/** Starts the server of the simulator when its first endpoint is needed. */
export function createLazySimulator() {
  let started: Promise<import('./simulator.ts').Simulator> | undefined
  return {
    endpoint: async (kind: ProviderKind) => {
      started ??= import('./simulator.ts').then(({ startSimulator }) => startSimulator({ latencyMs: 20, chunkDelayMs: 8 }))
      return (await started).endpoint(kind)
    },
    close: async () => (await started)?.close(),
  }
}
