import { openTestPolyphony } from '../support/polyphony.ts'

/** A supervisor in a process of its own, which a test can kill: it runs `writer-1` of its service files. */
const { services } = await openTestPolyphony(JSON.parse(process.argv[2] ?? '{}'))
await services.load()
await services.start('writer-1')
process.stdout.write('running\n')
// Without its test it ends.
process.stdin.on('close', () => process.exit()).resume()
