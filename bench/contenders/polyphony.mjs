// Polyphony as a contender of the peer bench (interface: its README). Public API only, the built package.
// Variants: mem (memory://), pg (Postgres; every step durable before the next one starts).
import { existsSync } from 'node:fs'
import { marks } from '../lib/llm.mjs'

export const variants = ['mem', 'pg']

const BUILT = new URL('../../dist/src/index.js', import.meta.url)
const USER = 'bench'
const model = 'bench/fake-1'

const seq = {
  name: 'seq',
  type: 'sequential',
  contextPolicy: { maxSharedTokens: 100_000 },
  steps: [
    { id: 'generate', model, action: 'generate', prompt: 'Write an answer to: {{ original }}' },
    {
      id: 'critique',
      model,
      action: 'critique',
      prompt: 'Question: {{ original }}\nAnswer: {{ steps.generate.output }}\nCriticise the answer.',
    },
    {
      id: 'refine',
      model,
      action: 'refine',
      prompt:
        'Question: {{ original }}\nAnswer: {{ steps.generate.output }}\nCritique: {{ steps.critique.output }}\nWrite an improved answer.',
    },
  ],
}

const branches = [0, 1, 2, 3, 4]
const par = {
  name: 'par',
  type: 'parallel',
  contextPolicy: { maxSharedTokens: 100_000 },
  steps: [
    ...branches.map((i) => ({ id: `branch${i}`, model, action: 'generate', prompt: `Expert ${i}: answer {{ original }}` })),
    {
      id: 'synth',
      model,
      action: 'summarize',
      prompt: `Question: {{ original }}\n${branches.map((i) => `[${i}] {{ steps.branch${i}.output }}`).join('\n')}\nSynthesise.`,
    },
  ],
}

const definitions = { seq, par }

// The first model call is the moment a request leaves, not the moment the engine is asked for a flow.
const { fetch: send } = globalThis
globalThis.fetch = (...request) => {
  marks.firstCall ||= performance.now()
  globalThis.fetch = send
  return send(...request)
}

export default async function create(variant) {
  const { createPolyphony } = await (existsSync(BUILT) ? import(BUILT) : import('polyphony'))
  let polyphony
  let threadId
  const run = async (definition, input, options) => {
    const flow = await polyphony.orchestrator.createFlow(threadId, USER, definition)
    const result = await polyphony.orchestrator.executeFlow(flow.id, USER, { input, ...options })
    return { text: result.finalOutput, tokens: result.totalTokens }
  }
  return {
    persisted: variant === 'pg',
    async setup({ baseURL, pgUrl }) {
      polyphony = await createPolyphony({
        database: variant === 'pg' ? pgUrl : 'memory://?flows=100',
        providers: { bench: { kind: 'openai-compatible', baseUrl: baseURL, apiKey: 'sk-fake' } },
      })
      threadId = (await polyphony.conversations.createThread(USER, { title: 'bench' })).id
    },
    runFlow: (kind, prompt) => run(definitions[kind], prompt),
    streamFlow: (prompt, onToken) =>
      run(seq, prompt, {
        streaming: true,
        onUpdate: (update) => {
          if (update.type === 'step_progress') onToken(update.data.delta)
        },
      }),
    teardown: () => polyphony.close(),
  }
}
