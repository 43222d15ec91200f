import type { PolyphonyConfigInput } from '../../src/config/config.ts'
import { createPolyphony } from '../../src/polyphony.ts'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { createServer } from '../../src/server/server.ts'
import type { ServerMemory } from './server-process.ts'

const SAMPLE_EVERY_MS = 20

/** `<configuration as JSON>`: a server whose provider `scripted` writes `pieces <count> every <ms> of <characters>`, as the prompt says. */
const config: PolyphonyConfigInput = JSON.parse(process.argv[2] ?? '{}')

const provider = createScriptedProvider({
  replies: ({ messages }) => {
    const [, count = '1', delayMs = '0', characters = '0'] =
      /pieces (\d+) every (\d+) of (\d+)/.exec(messages.at(-1)?.content ?? '') ?? []
    const chunks = Array.from({ length: Number(count) }, (_, index) => `<${index}>`.padEnd(Number(characters), '.'))
    return { text: chunks.join(''), chunks, delayMs: Number(delayMs) }
  },
})
const polyphony = await createPolyphony({ ...config, providers: { scripted: provider } }, { env: {}, cwd: '/nonexistent' })
const server = await createServer(polyphony)
const url = await server.listen()
if (polyphony.config.server.resumeInterrupted) await polyphony.resumeInterrupted()

let mostBytes = 0
setInterval(() => {
  mostBytes = Math.max(mostBytes, process.memoryUsage.rss())
}, SAMPLE_EVERY_MS)

const memory = (): ServerMemory => {
  const { rss, heapUsed, external } = process.memoryUsage()
  return { rssBytes: rss, mostBytes: Math.max(mostBytes, rss), heapBytes: heapUsed + external }
}
process.on('message', (question) => {
  if (question === 'rest') {
    globalThis.gc?.()
    mostBytes = 0
  }
  process.send?.({ answer: memory() })
})
// Who started it may be killed without a word.
process.on('disconnect', () => process.exit())
process.send?.({ url })
