import { describe, expect, onTestFinished, test } from 'vitest'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { openTestPostgres } from '../support/postgres.ts'
import { CHAOS_ENGINES } from './engines.ts'

const QUEUED = Number(process.env.CHAOS_QUEUED ?? 1_000)
const WORKERS = 2
/** Flows that one worker runs at once. */
const PLACES = 5
const OTHERS = 4
const definition = {
  name: 'one step',
  type: 'sequential' as const,
  steps: [{ id: 'only', model: 'scripted/m', action: 'generate' as const, prompt: '{{ original }}' }],
}

/** A model whose answers are given on demand, the oldest first. */
function createHeldProvider() {
  const asked: string[] = []
  const waiting: (() => void)[] = []
  const provider = createScriptedProvider({
    replies: (request) =>
      new Promise((resolve) => {
        asked.push(String(request.messages.at(-1)?.content))
        waiting.push(() => resolve('fine'))
      }),
  })
  return { provider, asked, answerOldest: () => waiting.shift()?.(), untilAsked: (count: number) => asked.length >= count }
}

describe.each(CHAOS_ENGINES)('$name', ({ configOf, problem, clear }) => {
  test.skipIf(problem)(
    `the flows of a second user start at the next free places beside ${QUEUED} queued flows of the first`,
    { timeout: 240_000 + QUEUED * 20 },
    async () => {
      const { url, drop } = await openTestPostgres()
      onTestFinished(async () => {
        await drop()
        await clear?.()
      })
      const { provider, asked, answerOldest } = createHeldProvider()
      const config = { ...configOf(url, 'http://127.0.0.1:9'), providers: { scripted: provider }, maxRunningFlows: PLACES }
      const workers = [await openTestPolyphony(config), await openTestPolyphony(config)]
      onTestFinished(async () => void (await Promise.all(workers.map((worker) => worker.close()))))
      await Promise.all(workers.map((worker) => worker.resumeInterrupted()))

      const [{ orchestrator, conversations }] = workers as [(typeof workers)[number]]
      const startAll = async (userId: string, count: number) => {
        const { id: threadId } = await conversations.createThread(userId)
        let started = 0
        const startNext = async (): Promise<void> => {
          while (started < count) {
            const input = `${userId} ${started++}`
            const { id } = await orchestrator.createFlow(threadId, userId, definition)
            await orchestrator.startFlow(id, userId, { input, resumeAfterCrash: true })
          }
        }
        await Promise.all(Array.from({ length: 100 }, startNext))
      }
      const untilAsked = (count: number) => expect.poll(() => asked.length, { timeout: 60_000, interval: 20 }).toBe(count)
      const running = WORKERS * PLACES
      await startAll('ada', running)
      await untilAsked(running)
      await startAll('ada', QUEUED)
      await startAll('bob', OTHERS)
      expect(asked).toHaveLength(running)

      const waitsMs: number[] = []
      for (let free = 1; free <= OTHERS; free++) {
        const freedAt = performance.now()
        answerOldest()
        await untilAsked(running + free)
        waitsMs.push(performance.now() - freedAt)
      }
      console.log(`from a free place to the next call, of ${QUEUED} queued flows: ${waitsMs.map(Math.round).join(', ')} ms`)
      expect(asked.slice(running).map((prompt) => prompt.split(' ')[0])).toEqual(Array(OTHERS).fill('bob'))
    },
  )
})
