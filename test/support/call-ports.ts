import type { CallDeps } from '../../src/calls/create-call.ts'
import { answer } from './calls.ts'

/** Ports of a call that answer at once; tests replace what they are about. */
export const callPorts = (more: Partial<CallDeps> = {}): CallDeps => ({
  attempt: async () => answer(),
  price: () => ({ costUsd: 0.5, source: 'prices', pricesDate: '2026-11-01', estimated: false }),
  worstCaseUsd: () => 1,
  ratesOf: () => ({}),
  ...more,
})
