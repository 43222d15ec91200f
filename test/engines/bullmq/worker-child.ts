import { createPolyphony } from 'polyphony'

/**
 * `<configuration as JSON> <grace period in milliseconds>`: takes flows from the queue until SIGTERM, on which it hands its flows over. Tells on stdout
 * when it is ready and when it has closed.
 */
const config = JSON.parse(process.argv[2] ?? '{}')
const tell = (word: string) => process.stdout.write(`${word}\n`)

const polyphony = await createPolyphony({ engine: 'bullmq', ...config }, { env: {}, cwd: '/nonexistent' })
process.once('SIGTERM', () => {
  polyphony.close({ handOver: true, graceMs: Number(process.argv[3] ?? 0) }).then(() => {
    tell('closed')
    process.exit(0)
  })
})
tell('ready')
