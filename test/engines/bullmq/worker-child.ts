import { createPolyphony } from 'polyphony'

/**
 * `<configuration as JSON> <grace period in milliseconds>`: takes flows from the queue until SIGTERM, on which it hands its flows over. Tells on stdout
 * when it is ready and when it has closed.
 */
const config = JSON.parse(process.argv[2] ?? '{}')
const tell = (word: string) => process.stdout.write(`${word}\n`)

const polyphony = await createPolyphony({ engine: 'bullmq', ...config }, { env: {}, cwd: '/nonexistent' })
process.once('SIGTERM', () => {
  const closed = polyphony.close({ handOver: true, graceMs: Number(process.argv[3] ?? 0) })
  tell('closing')
  closed.then(() => process.exit(0))
})
tell('ready')
