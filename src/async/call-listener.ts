/**
 * Calls code that was passed in only to be notified, and returns its result, or `undefined` where it throws. What it
 * throws or rejects with is ignored: a failing listener must not stop the work it listens to.
 */
export function callListener<Result>(call: () => Result): Result | undefined {
  try {
    const result = call()
    if (result instanceof Promise) result.catch(() => {})
    return result
  } catch {
    return undefined
  }
}
