import type { ProviderKind } from '../config/provider-settings.ts'

/** The simulator is a server of its own: it starts with the first provider that is asked. */
export function createLazySimulator() {
  let started: Promise<import('./simulator.ts').Simulator> | undefined
  return {
    endpoint: async (kind: ProviderKind) => {
      started ??= import('./simulator.ts').then(({ startSimulator }) => startSimulator({ latencyMs: 20, pieceDelayMs: 8 }))
      return (await started).endpoint(kind)
    },
    close: async () => (await started)?.close(),
  }
}
