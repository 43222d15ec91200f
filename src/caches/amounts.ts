import { OrchestratorError } from '../errors/orchestrator-error.ts'

/** Size of a value in bytes of its JSON; 0 for `undefined` and functions. Throws for what JSON cannot hold. */
const jsonBytes = (value: unknown): number => Buffer.byteLength(JSON.stringify(value) ?? '')

/**
 * The size that a value counts with, a whole number from 1. A value whose size cannot be known counts as infinitely
 * large, so that it is not kept and nothing fails because of it.
 */
export const sizeOf = <Value>(value: Value, bytesOf: (value: Value) => number = jsonBytes): number => {
  try {
    const bytes = bytesOf(value)
    return Number.isNaN(bytes) ? Number.POSITIVE_INFINITY : Math.max(1, Math.ceil(bytes))
  } catch {
    return Number.POSITIVE_INFINITY
  }
}

/** Throws CONFIG_INVALID for a number that is not whole or below 1. */
export function assertPositive(name: string, value: number): void {
  if (Number.isSafeInteger(value) && value > 0) return
  throw new OrchestratorError('CONFIG_INVALID', `${name}: expected a whole number from 1, found ${String(value)}`)
}

/** Share of the reads that found a value, from 0 to 1. */
export const hitRateOf = (hits: number, misses: number): number => (hits + misses === 0 ? 0 : hits / (hits + misses))
