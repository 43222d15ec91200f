import { describe, expect, test } from 'vitest'
import { arrivalRate, type FleetOptions, simulateFleet } from '../../bench/fleet/simulation.mjs'

const free = { perFlow: 0, perStep: 0 }
const options: FleetOptions = {
  seed: 7,
  durationS: 3_600,
  arrivals: { flowsPerDay: 60_000, dailySwing: 0, bursts: { perDay: 0, lengthS: 0, factor: 1 } },
  stepShares: [
    { steps: 1, share: 0.5 },
    { steps: 4, share: 0.5 },
  ],
  latencyS: { median: 3, sigma: 0.5 },
  accounts: { count: 2, requestsPerMinute: 600 },
  fleet: { workers: 3, concurrency: 3, pickUpS: 0.01, meanLifeS: 0, takeoverS: 25, restartS: 60 },
  database: { cores: 2, commitS: 0.002 },
  costs: {
    statements: { perFlow: 8, perStep: 2 },
    walBytes: { perFlow: 4_000, perStep: 3_000 },
    storedBytes: { perFlow: 4_000, perStep: 3_000 },
    executionMs: { perFlow: 2, perStep: 1 },
    commits: { perFlow: 8, perStep: 2 },
  },
}
const withFleet = (fleet: Partial<FleetOptions['fleet']>): FleetOptions => ({ ...options, fleet: { ...options.fleet, ...fleet } })

describe('the simulation of a fleet', () => {
  test('every flow that arrived is done, queued or running, also when workers die all the time', () => {
    for (const meanLifeS of [0, 120]) {
      for (const durationS of [1, 600, 3_601]) {
        const { arrived, done, waiting, running } = simulateFleet({ ...withFleet({ meanLifeS }), durationS })
        expect(done + waiting + running).toBe(arrived)
      }
    }
    const { deaths, repeatedCalls, done } = simulateFleet(withFleet({ meanLifeS: 120 }))
    expect(deaths).toBeGreaterThan(10)
    expect(repeatedCalls).toBeGreaterThan(0)
    expect(done).toBeGreaterThan(100)
  })

  test('the same seed gives the same result, and another seed gives another one', () => {
    expect(simulateFleet(withFleet({ meanLifeS: 300 }))).toEqual(simulateFleet(withFleet({ meanLifeS: 300 })))
    expect(simulateFleet({ ...options, seed: 8 })).not.toEqual(simulateFleet(options))
  })

  test('with more workers the queue is never longer', () => {
    const depths = [1, 2, 3, 4, 6, 12].map((workers) => simulateFleet(withFleet({ workers })).queueDepth)
    for (const key of ['p50', 'p99', 'max'] as const) {
      const values = depths.map((depth) => depth[key])
      expect(values).toEqual([...values].sort((a, b) => b - a))
    }
    expect(depths.at(0)?.max).toBeGreaterThan(100)
    expect(depths.at(-1)?.p50).toBe(0)
  })

  test('no worker runs more flows than it has slots', () => {
    const { most, waiting } = simulateFleet(withFleet({ workers: 2, concurrency: 4, meanLifeS: 200 }))
    expect(most.running).toBeLessThanOrEqual(8)
    expect(waiting).toBeGreaterThan(0)
  })

  test('the provider accounts are not called above their rate, however many workers there are', () => {
    const { calls } = simulateFleet({
      ...withFleet({ workers: 100 }),
      accounts: { count: 1, requestsPerMinute: 30 },
      durationS: 600,
    })
    // Calls are counted when they get their slot, which may lie after the end.
    expect(calls).toBeGreaterThan(300)
    const { steps } = simulateFleet({
      ...withFleet({ workers: 100 }),
      accounts: { count: 1, requestsPerMinute: 30 },
      durationS: 600,
    })
    expect(steps).toBeLessThanOrEqual(301)
  })

  test('the database is charged once per flow and step', () => {
    const idle = { ...options, costs: { ...options.costs, statements: free } }
    expect(simulateFleet(idle).perSecond.statements.total).toBe(0)
    const { arrived, done, steps, perSecond } = simulateFleet({ ...options, fleet: { ...options.fleet, workers: 12 } })
    const least = arrived * 4 + done * 4 + steps * 2
    expect(perSecond.statements.total).toBeGreaterThanOrEqual(least)
    // Writes whose end was not reached: at most one for each flow that is not done.
    expect(perSecond.statements.total).toBeLessThanOrEqual(least + (arrived - done) * 4)
  })

  test('the daily curve and its bursts have the mean of the configured flows per day', () => {
    const arrivals = { flowsPerDay: 86_400, dailySwing: 0.6, bursts: { perDay: 4, lengthS: 600, factor: 3 } }
    const rates = Array.from({ length: 86_400 }, (_, second) => arrivalRate(arrivals, second + 0.5))
    expect(rates.reduce((sum, rate) => sum + rate, 0) / 86_400).toBeCloseTo(1, 1)
    expect(Math.max(...rates)).toBeGreaterThan(3)
    expect(Math.min(...rates)).toBeLessThan(0.5)
  })
})
