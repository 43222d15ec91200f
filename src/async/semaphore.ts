/** Lets so many pieces of work run at once; the others wait for their turn, in order. */
export function createSemaphore(most: number) {
  const waiting: (() => void)[] = []
  let running = 0
  return async <Value>(work: () => Promise<Value>): Promise<Value> => {
    if (running >= most) await new Promise<void>((resolve) => waiting.push(resolve))
    else running++
    try {
      return await work()
    } finally {
      // Whoever is next takes over this place.
      const next = waiting.shift()
      if (next) next()
      else running--
    }
  }
}

export type Semaphore = ReturnType<typeof createSemaphore>
