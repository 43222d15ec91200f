/** `npm test` runs a short form of the storms: fewer generated cases, from a fixed seed. */
export const isShort = process.env.POLYPHONY_TESTS === 'short'

/** The number of cases of a storm: the first in full, the second in the short form. */
export const casesOf = (full: number, short: number): number => (isShort ? short : full)

/** For what must find the same whenever it runs. */
export const FIXED_SEED = 20_261_120

/** Of a storm: random in full. The configuration of vitest chooses and prints it; POLYPHONY_TEST_SEED repeats a run. */
export const SEED = Number(process.env.POLYPHONY_TEST_SEED ?? FIXED_SEED)
