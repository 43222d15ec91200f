/**
 * Calls code that was passed in only to be notified, and returns its result, or `undefined` if it throws. Errors and
 * rejections are ignored: a failing listener must not stop the work that it observes.
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
