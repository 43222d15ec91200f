/** Runs at most `limit` tasks at once; the others wait in order of arrival. */
export function createSemaphore(limit: number) {
  const waiting: (() => void)[] = []
  let running = 0
  return async <Value>(work: () => Promise<Value>): Promise<Value> => {
    if (running >= limit) await new Promise<void>((resolve) => waiting.push(resolve))
    else running++
    try {
      return await work()
    } finally {
      // The next waiting task takes over the slot.
      const next = waiting.shift()
      if (next) next()
      else running--
    }
  }
}

export type Semaphore = ReturnType<typeof createSemaphore>
