const SIGNALS = ['SIGINT', 'SIGTERM'] as const

/** Runs what SIGINT and SIGTERM end by its signal. Rejects as it does. `onSecond` is called with a further one. */
export async function untilStopped(work: (signal: AbortSignal) => Promise<void>, onSecond = () => {}): Promise<void> {
  const stop = new AbortController()
  const end = () => (stop.signal.aborted ? onSecond() : stop.abort())
  for (const signal of SIGNALS) process.on(signal, end)
  try {
    await work(stop.signal)
  } finally {
    for (const signal of SIGNALS) process.off(signal, end)
  }
}
