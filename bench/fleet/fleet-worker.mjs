// One process of the measured fleet: runs flows with engine bullmq and starts those that its parent asks for.
import { setTimeout as sleep } from 'node:timers/promises'
import { entryOf } from '../contenders/polyphony.mjs'

const { pgUrl, baseURL } = JSON.parse(process.argv[2])
const USER = 'fleet'
const model = 'bench/fake-1'

/** A sequence in which each step reads the answer before it. */
const sequenceOf = (steps) => ({
  name: `seq${steps}`,
  type: 'sequential',
  contextPolicy: { maxSharedTokens: 100_000 },
  steps: Array.from({ length: steps }, (_, index) => ({
    id: `step${index}`,
    model,
    action: index === 0 ? 'generate' : 'refine',
    prompt: index === 0 ? 'Write an answer to: {{ original }}' : `Improve this answer: {{ steps.step${index - 1}.output }}`,
  })),
})

const { createPolyphony } = await import(entryOf('index'))
const polyphony = await createPolyphony({
  database: pgUrl,
  engine: 'bullmq',
  providers: { bench: { kind: 'openai-compatible', baseUrl: baseURL, apiKey: 'sk-fake' } },
})
polyphony.startBackgroundWork()
const thread = await polyphony.conversations.createThread(USER, { title: 'fleet' })

async function runFlow(definition) {
  const flow = await polyphony.orchestrator.createFlow(thread.id, USER, definition)
  const askedAtMs = Date.now()
  const { status, steps } = await polyphony.orchestrator.executeFlow(flow.id, USER, {
    input: 'How does a bridge carry its load?',
  })
  const took = { elapsedMs: Date.now() - askedAtMs }
  if (status !== 'COMPLETED' || steps.length !== definition.steps.length) {
    throw new Error(`expected COMPLETED with ${definition.steps.length} steps, found ${status} with ${steps.length}`)
  }
  const firstStepMs = Math.min(...steps.map(({ startedAt }) => startedAt.getTime()))
  return { ...took, waitMs: firstStepMs - askedAtMs }
}

async function run({ steps, flows, inFlight }) {
  const definition = sequenceOf(steps)
  const taken = []
  let started = 0
  const lane = async () => {
    while (started++ < flows) taken.push(await runFlow(definition))
  }
  await Promise.all(Array.from({ length: inFlight }, lane))
  return taken
}

process.on('message', async (task) => {
  try {
    if (task.close) {
      await polyphony.close()
      process.disconnect()
      return
    }
    const before = process.cpuUsage()
    const taken = await run(task)
    const { user, system } = process.cpuUsage(before)
    process.send({ taken, cpuMs: (user + system) / 1000 })
  } catch (error) {
    process.send({ problem: error.message })
  }
})
process.on('disconnect', () => process.exit())
await sleep(0)
process.send({ ready: true })
