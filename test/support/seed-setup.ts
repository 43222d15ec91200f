/** Printed once for a run, so that a storm that found something can be repeated. */
export default function printSeed(): void {
  console.log(`The storms run with POLYPHONY_TEST_SEED=${process.env.POLYPHONY_TEST_SEED}`)
}
