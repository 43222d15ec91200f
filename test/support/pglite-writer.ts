import { openStore } from '../../src/repositories/database.ts'
import { lockDirectory } from '../../src/repositories/postgres/embedded/directory-lock.ts'
import { createMemoryBus } from '../events/memory-bus.ts'
import { newClaim, newFlow, newThread, stepResult, update } from './stored-data.ts'

/** `write <url>`: writes flows until it is killed. `hold <directory>`: only locks the directory. Tells on stdout what it has done, one line each. */
const [mode, place = ''] = process.argv.slice(2)
const tell = (...words: readonly string[]) => process.stdout.write(`${words.join(' ')}\n`)

if (mode === 'hold') {
  await lockDirectory(place)
  tell('locked')
  setInterval(() => undefined, 1_000)
} else {
  const { journal, threads, events } = await openStore({ url: place })
  const { bus } = createMemoryBus({ log: events, recent: 0 })
  const writeFlow = async () => {
    const thread = newThread()
    await threads.create(thread)
    const flow = newFlow(thread.id)
    await journal.createFlow(flow)
    tell('flow', flow.id)
    const { seq, id } = await bus.publish({ type: 'flow_made', source: 'test', data: { flowId: flow.id } })
    tell('event', String(seq), id)
    const claimed = await journal.claim(newClaim(flow.id))
    if (!('epoch' in claimed)) throw new Error('Expected to win the claim')
    for (let step = 1; step <= 3; step++) {
      const { epoch } = claimed
      await journal.append({ flowId: flow.id, epoch, results: [stepResult(flow.id, `step-${step}`)], updates: [update(step)] })
      tell('step', flow.id, `step-${step}`)
    }
  }
  const writeFlows = async () => {
    for (;;) await writeFlow()
  }
  await Promise.all([writeFlows(), writeFlows(), writeFlows(), writeFlows()])
}
