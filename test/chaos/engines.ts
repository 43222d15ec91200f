import type { PolyphonyConfigInput } from '../../src/config/config.ts'

export interface ChaosEngine {
  readonly name: string
  /** Configuration of a worker over the database and the provider. */
  readonly configOf: (database: string, providerUrl: string) => PolyphonyConfigInput
  /** Whether a worker that stands still for some seconds loses its flows to another one. */
  readonly takesOverFrozen: boolean
  /** Why the engine cannot run here. */
  readonly problem?: string
}

const configOf = (database: string, providerUrl: string): PolyphonyConfigInput => ({
  database,
  logLevel: 'error',
  providers: { desk: { kind: 'openai-compatible', baseUrl: providerUrl, apiKey: 'sk-key' } },
})

/** The engines whose workers share one Postgres. */
export const CHAOS_ENGINES: readonly ChaosEngine[] = [{ name: 'local', configOf, takesOverFrozen: false }]
