/** The error that `run` throws; fails where it throws none. */
export function caught(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    return error
  }
  throw new Error('expected an error, found none')
}
