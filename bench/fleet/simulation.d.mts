// Types of simulation.mjs for the tests.

interface Cost {
  readonly perFlow: number
  readonly perStep: number
}

interface Arrivals {
  readonly flowsPerDay: number
  /** Share of the mean by which the rate is lower at night and higher at noon, 0 to 1. */
  readonly dailySwing: number
  readonly bursts: { readonly perDay: number; readonly lengthS: number; readonly factor: number }
}

export interface FleetOptions {
  readonly seed: number
  readonly durationS: number
  readonly arrivals: Arrivals
  readonly stepShares: readonly { readonly steps: number; readonly share: number }[]
  readonly latencyS: { readonly median: number; readonly sigma: number }
  readonly accounts: { readonly count: number; readonly requestsPerMinute: number }
  readonly fleet: {
    readonly workers: number
    readonly concurrency: number
    readonly pickUpS: number
    /** Mean seconds between two deaths of a worker; 0 for workers that never die. */
    readonly meanLifeS: number
    readonly takeoverS: number
    readonly restartS: number
  }
  readonly database: { readonly cores: number; readonly commitS: number }
  readonly costs: Readonly<Record<'statements' | 'walBytes' | 'storedBytes' | 'executionMs' | 'commits', Cost>>
}

interface Quantiles {
  readonly p50: number
  readonly p99: number
  readonly max: number
}

interface Rate {
  readonly mean: number
  readonly peak: number
  readonly total: number
}

export interface SimulatedFleet {
  readonly arrived: number
  readonly done: number
  readonly waiting: number
  readonly running: number
  readonly steps: number
  readonly calls: number
  readonly repeatedCalls: number
  readonly deaths: number
  readonly storedBytes: number
  readonly queueDepth: Quantiles
  readonly waitMs: Quantiles
  readonly most: Readonly<Record<'running' | 'waiting' | 'waitMs' | 'rateWaitS' | 'writeS', number>>
  readonly perSecond: Readonly<Record<'arrivals' | 'calls' | 'statements' | 'walBytes' | 'commits' | 'executionMs', Rate>>
}

export function arrivalRate(arrivals: Arrivals, atS: number): number
export function simulateFleet(options: FleetOptions): SimulatedFleet
