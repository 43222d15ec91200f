/** The error that `run` throws; fails where it throws none. */
export function caught(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    return error
  }
  throw new Error('expected an error, found none')
}

/** The reason for which the promise rejects; fails where it resolves. */
export async function rejection(promise: PromiseLike<unknown>): Promise<unknown> {
  let value: unknown
  try {
    value = await promise
  } catch (error) {
    return error
  }
  throw new Error(`expected an error, found ${JSON.stringify(value)}`)
}
